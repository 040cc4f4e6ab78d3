const fs = require("fs");
const how = process.argv[2];
for (let step = 1; step < 6; step++) console.log(`chunk ${step} written`);
const ways = {
  module: () => require("left-padding"),
  type: () => undefined.rows,
  file: () => fs.readFileSync("conf/settings.json"),
  json: () => JSON.parse("{\"steps\": 12,"),
  heap: () => { const all = []; for (;;) all.push(new Array(1e5).fill(all.length)); },
  exit: () => process.exit(4),
  refused: () => require("net").connect(1, "127.0.0.1"),
  host: () => require("net").connect(80, "tracker.invalid"),
  rejected: () => Promise.reject(new Error("unknown option --ouput")),
  name: () => settings.steps,
};
ways[how]();
