// Plays one URL in a headless browser, seeks, and prints one line of JSON.
//   node play.mjs BROWSER PAGE-URL hls|dash|flv|plain MEDIA-URL PLAY-SECONDS SEEK [live]
// SEEK is a time in seconds; with a sign, so far from where it plays then; "-" is none.
import puppeteer from "puppeteer-core";

const [browserPath, page, kind, url, playSeconds, seek, word] = process.argv.slice(2);
const live = word === "live";
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
  if (seek !== "-") {
    const to = /^[+-]/.test(seek) ? (await look()).time + Number(seek) : Number(seek);
    await tab.evaluate((to) => (document.getElementById("video").currentTime = to), to);
    const sought = Date.now();
    const after = await until((state) => state.time > to + 1 && state.time < to + 30, 30);
    result.after_seek_s = +(after.time - to).toFixed(2);
    result.seek_ms = Date.now() - sought - 1000;
  }
  const last = await look();
  result.frames = last.frames;
  result.fatal = last.fatal;
} finally {
  await browser.close();
}
console.log(JSON.stringify(result));
