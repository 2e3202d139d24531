// Runs a command of a package in Wasmer's own runtime, against the registry given, and prints what it wrote.
//   node wasmer_sdk.mjs SDK_DIRECTORY ENDPOINT PACKAGE COMMAND ARGUMENT...
import { pathToFileURL } from "node:url";

const [sdk, endpoint, name, command, ...args] = process.argv.slice(2);

// The SDK's workers don't keep node alive: between two of their messages it may find nothing to wait for and end with
// code 13 in the middle of a run. This does, and bounds the run as well.
const kLimitSeconds = 90;
setTimeout(() => {
  process.stderr.write(`no answer from the runtime after ${kLimitSeconds} s\n`, () => process.exit(1));
}, kLimitSeconds * 1000);

const { init, Runtime, Wasmer } = await import(pathToFileURL(`${sdk}/node_modules/@wasmer/sdk/dist/node.mjs`));
process.on("uncaughtException", (error) => {
  process.stderr.write(`${error?.detailedMessage ?? error?.message ?? error}\n`, () => process.exit(1));
});
await init();
// Only a runtime of one's own asks this registry; the default one asks the public one.
const runtime = new Runtime({ registry: endpoint });
const found = await Wasmer.fromRegistry(name, runtime);
const output = await (await found.commands[command].run({ args })).wait();
process.stdout.write(output.stdout, () => process.exit(0));
