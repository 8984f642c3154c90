// Plays one URL in a headless browser, seeks, and prints one line of JSON.
//   node play.mjs BROWSER PAGE-URL hls|dash|flv|plain MEDIA-URL PLAY-SECONDS SEEK-TO-SECONDS|-
import puppeteer from "puppeteer-core";

const [browserPath, page, kind, url, playSeconds, seekTo] = process.argv.slice(2);
const live = seekTo === "-";
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const browser = await puppeteer.launch({
  executablePath: browserPath,
  headless: true,
  args: ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-gpu", "--no-proxy-server", "--mute-audio"],
});
const result = { kind, console: [] };
try {
  const tab = await browser.newPage();
  tab.on("pageerror", (error) => result.console.push(String(error)));
  tab.on("console", (line) => line.type() === "error" && result.console.length < 8 && result.console.push(line.text()));
  await tab.goto(page);
  const look = () => tab.evaluate(() => window.look());
  await tab.evaluate((kind, url, live) => window.begin(kind, url, live), kind, url, live);
  const begun = Date.now();
  const until = async (good, seconds) => {
    const end = Date.now() + seconds * 1000;
    let state = await look();
    while (!good(state) && Date.now() < end) {
      await sleep(100);
      state = await look();
    }
    return state;
  };
  const first = await until((state) => state.playing && state.frames > 0, 30);
  result.version = first.version;
  result.start_ms = first.playing ? Date.now() - begun : null;
  const played = await until((state) => state.time - first.time >= playSeconds, Number(playSeconds) * 3 + 10);
  result.played_s = +(played.time - first.time).toFixed(2);
  if (!live) {
    await tab.evaluate((to) => (document.getElementById("video").currentTime = to), Number(seekTo));
    const sought = Date.now();
    const after = await until((state) => state.time > Number(seekTo) + 1, 30);
    result.after_seek_s = +(after.time - Number(seekTo)).toFixed(2);
    result.seek_ms = Date.now() - sought - 1000;
  }
  const last = await look();
  result.frames = last.frames;
  result.fatal = last.fatal;
} finally {
  await browser.close();
}
console.log(JSON.stringify(result));
