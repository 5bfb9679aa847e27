/**
 * libFuzzer over a TypeScript target: `node test/fuzz/libfuzzer.mjs ADDON TARGET [libFuzzer's
 * arguments]`.
 *
 * A target is a module of targets/ that exports `fuzz`, which throws if its input shows a mistake
 * of ours. The addon is native/fuzz/libfuzzer_addon.cc; scripts/fuzz.mjs builds it and comes here.
 */

import { writeSync } from 'node:fs';
import { createRequire, register } from 'node:module';
import { inspect } from 'node:util';

/** No more is asked for: scripts/fuzz.mjs says -max_len. */
const inputBytesMax = 1 << 20;
const stderr = 2;

const [addonFile, target, ...args] = process.argv.slice(2);
const addon = createRequire(import.meta.url)(addonFile);
globalThis.newFuzzCounters = addon.newCounters;
register('./counting.mjs', import.meta.url);

const { fuzz } = await import(`./targets/${target}.ts`);
const input = new Uint8Array(inputBytesMax);
addon.run(['libfuzzer', ...args], input, (bytes) => {
  try {
    fuzz(input.subarray(0, bytes));
  } catch (error) {
    // At once, since the process ends with this call.
    writeSync(stderr, `${inspect(error)}\n`);
    throw error;
  }
});
