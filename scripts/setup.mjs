/**
 * `npm run demo`, `npm test` and the other tasks below on a fresh clone: makes ready what is
 * missing, then runs the thing.
 *
 *   node scripts/setup.mjs TASK [arguments for it]
 *
 * Each step first looks whether it has anything to do, so a second run starts at once. As root on
 * Debian or Ubuntu it installs missing system packages; any other user is told the command. Beyond
 * that it writes to this folder and to the cache folder only. It runs before node_modules exists,
 * so this folder uses nothing but Node itself.
 */

import { readFileSync } from 'node:fs';

const { version, engines } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
);
/** Major and minor. */
const oldestNode = engines.node.match(/\d+/g).map(Number);

function checkNodeVersion() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])) return;
  console.error(
    `tsvswitch needs Node ${oldestNode.join('.')} or later, this is ${process.versions.node}`,
  );
  process.exit(1);
}

/** What each task is: what it needs besides a built tree, and what to start. */
const tasks = {
  demo: async (args) => {
    const { runInForeground } = await import('./processes.mjs');
    return runInForeground(process.execPath, ['dist/cli/main.js', 'demo', ...args]);
  },
  test: async (args) => {
    const { runTests } = await import('./tests.mjs');
    return runTests(args);
  },
  'test-all': async (args) => {
    const { runAllTests } = await import('./tests.mjs');
    return runAllTests(args);
  },
  bench: async (args) => {
    const { buildBench } = await import('./build.mjs');
    const { runInForeground } = await import('./processes.mjs');
    await buildBench();
    return runInForeground(process.execPath, ['build/bench/main.js', ...args]);
  },
  fuzz: async (args) => {
    const { fuzz } = await import('./fuzz.mjs');
    return fuzz(args);
  },
  survivors: async (args) => {
    const { buildSurvivors } = await import('./build.mjs');
    const { runInForeground } = await import('./processes.mjs');
    await buildSurvivors();
    return runInForeground(process.execPath, [
      'build/survivors/test/hostile/survivors.js',
      ...args,
    ]);
  },
  chaos: async (args) => {
    const { buildChaos } = await import('./build.mjs');
    const { runInForeground } = await import('./processes.mjs');
    await buildChaos();
    return runInForeground(process.execPath, ['build/chaos/main.js', ...args]);
  },
  soak: async (args) => {
    const { buildChaos } = await import('./build.mjs');
    const { runInForeground } = await import('./processes.mjs');
    await buildChaos();
    return runInForeground(process.execPath, ['build/chaos/soak.js', ...args]);
  },
  sanitized: async () => {
    const { sanitized } = await import('./sanitized.mjs');
    return sanitized();
  },
  memcheck: async () => {
    const { memcheck } = await import('./sanitized.mjs');
    return memcheck();
  },
};

/** apt mostly waits for disks and the network: the product is built beside it. */
async function makeReady(task) {
  const { systemPackages } = await import('./system-packages.mjs');
  const { installNpmPackages, buildProject } = await import('./build.mjs');
  const packages = systemPackages(task);
  await packages.installForBuilding();
  const outcomes = await Promise.allSettled([
    packages.installOthers(),
    installNpmPackages().then(buildProject),
  ]);
  for (const { status, reason } of outcomes) if (status === 'rejected') throw reason;
}

async function main([task, ...args]) {
  checkNodeVersion();
  const run = Object.hasOwn(tasks, task ?? '') ? tasks[task] : undefined;
  if (run === undefined) {
    console.error(`usage: node scripts/setup.mjs ${Object.keys(tasks).join('|')} [arguments]`);
    return 2;
  }
  const { openLog, SetupError } = await import('./processes.mjs');
  openLog(`setup-${task}`, `tsvswitch ${version}, node ${process.version}`);
  try {
    await makeReady(task);
    return await run(args);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    return 1;
  }
}

process.chdir(new URL('..', import.meta.url).pathname);
process.exitCode = await main(process.argv.slice(2));
