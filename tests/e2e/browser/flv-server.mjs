// Node-Media-Server: RTMP in, HTTP-FLV out.   node flv-server.mjs RTMP-PORT HTTP-PORT DATA-DIRECTORY
import NodeMediaServer from "node-media-server";

const [rtmp, http, directory] = process.argv.slice(2);
new NodeMediaServer({
  bind: "127.0.0.1",
  rtmp: { port: Number(rtmp) },
  http: { port: Number(http) },
  webadmin: { enable: false },
  store: { path: directory },
}).run();
