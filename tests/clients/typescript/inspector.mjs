// What an agent does with the gate, by the command line of the official inspector: one process for each request.
//
// Environment: WICKET_URL, WICKET_KEY, WICKET_SCRATCH, WICKET_SDK (the folder that holds its node_modules). Needs Node
// 22.19 or newer. It prints results and no notifications: streaming is a call that reports progress and ends whole.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";

const { WICKET_URL: url, WICKET_KEY: key, WICKET_SCRATCH: scratch, WICKET_SDK: packages } = process.env;
const script = `${packages}/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js`;
const PROCESS_MS_MAX = 30_000;

/** Starts it; `done` gives the exit code and all it said. */
function start(withKey, ...options) {
  const connection = ["--cli", url, "--transport", "http", "--header", `Authorization: Bearer ${withKey}`];
  // A home of its own: it would write a catalogue of servers into the user's.
  const env = { ...process.env, HOME: scratch };
  const child = spawn(process.execPath, [script, ...connection, ...options], { env, timeout: PROCESS_MS_MAX });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (said += text));
  }
  const done = new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (code) => resolve({ code, said }));
  });
  return { child, done };
}

const inspect = (...options) => start(key, ...options).done;
const call = (name, ...pairs) =>
  inspect("--method", "tools/call", "--tool-name", name, ...(pairs.length ? ["--tool-arg", ...pairs] : []));

const checks = {
  async "tools of all connectors are listed"() {
    const { code, said } = await inspect("--method", "tools/list");
    assert.equal(code, 0, said);
    for (const expected of ["everything__echo", "remote__echo", "files__read_text_file", "wicket__whoami"]) {
      assert.ok(said.includes(`"${expected}"`), `${expected} is not listed:\n${said}`);
    }
  },
  async "calls over stdio and HTTP answer"() {
    for (const service of ["everything", "remote"]) {
      const { code, said } = await call(`${service}__echo`, "message=grüße ☃");
      assert.equal(code, 0, said);
      assert.match(said, /grüße ☃/);
    }
  },
  async "a call that reports progress ends whole"() {
    const { code, said } = await call("remote__trigger-long-running-operation", "duration=1", "steps=4");
    assert.equal(code, 0, said);
    assert.match(said, /completed/i);
  },
  async "a call is denied for its arguments, and told so"() {
    const { code, said } = await call("remote__echo", "message=forbidden");
    assert.notEqual(code, 0, said);
    assert.match(said, /Authorization denied: tool 'echo' is not permitted for agent 'tester'/);
  },
  async "a write is denied and does not happen"() {
    // It may not be listed at all; then this client does not even ask.
    const path = `${scratch}/forbidden-inspector.txt`;
    const { code, said } = await call("files__write_file", `path=${path}`, "content=x");
    assert.notEqual(code, 0, said);
    assert.ok(!existsSync(path), "the denied call was carried out");
  },
  async "a call is cancelled"() {
    const began = performance.now();
    const long = ["--tool-name", "remote__trigger-long-running-operation", "--tool-arg", "duration=30", "steps=60"];
    const { child, done } = start(key, "--method", "tools/call", ...long);
    setTimeout(() => child.kill("SIGINT"), 3_000);
    await done;
    assert.ok(performance.now() - began < 15_000, "cancelling took as long as the call");
    const { said } = await call("remote__echo", "message=still here");
    assert.match(said, /still here/);
  },
  async "a wrong key is refused"() {
    const { code, said } = await start("A".repeat(32), "--method", "tools/list").done;
    assert.notEqual(code, 0, said);
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  const began = performance.now();
  try {
    await check();
    console.log(`ok ${name} (${((performance.now() - began) / 1000).toFixed(2)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}\n${error.stack}`);
  }
}
console.log(`inspector: ${Object.keys(checks).length - failed} of ${Object.keys(checks).length} checks passed`);
process.exit(failed ? 1 : 0);
