/**
 * What the tests of this folder install with: Nodes and npms, each as npm packages of their own,
 * downloaded once into the cache folder; a PATH that has nothing but a Node and a shell; and the
 * packed package.
 */

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa, execaSync, type Options } from 'execa';
import { cacheFolder } from '../../src/machine/cache.ts';
import { version } from '../../src/runtime/version.ts';

const installs = join(cacheFolder(), 'install-test');
const limitMs = 300_000;

/** The folder of the newest package that `spec` allows, such as `npm@12`, at its first download. */
export async function fetchPackage(spec: string): Promise<string> {
  const folder = join(installs, spec);
  if (existsSync(folder)) return join(folder, 'package');
  mkdirSync(installs, { recursive: true });
  const partial = mkdtempSync(`${folder}.partial-`);
  try {
    const { stdout } = await execa('npm', ['pack', '--silent', spec], { cwd: partial });
    await execa('tar', ['-xzf', stdout.trim(), '--exclude=package/include'], { cwd: partial });
    rmSync(join(partial, stdout.trim()));
    renameSync(partial, folder);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return join(folder, 'package');
}

/** The program of a Node of this kind, such as 20.19. */
export async function nodeProgram(version: string, arch = process.arch): Promise<string> {
  return join(await fetchPackage(`node-linux-${arch}@${version}`), 'bin', 'node');
}

/**
 * The tarball of this package, made as for the registry; nothing that is built already is built
 * again.
 */
export async function pack(into: string): Promise<string> {
  await execa('npm', ['pack', '--pack-destination', into, '--silent'], { timeout: limitMs });
  return join(into, `tsvswitch-${version}.tgz`);
}

/** How a program ended, and what it said. */
export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly all: string;
}

/**
 * `path` are more folders with programs; without a network it sees no interface but its own
 * loopback.
 */
export type RunOptions = Options & { readonly path?: string; readonly withoutNetwork?: boolean };

/** Takes the network from the program behind it. */
const unshare = ['unshare', '--map-root-user', '--net'] as const;
export const canTakeNetwork =
  execaSync(unshare[0], [...unshare.slice(1), 'true'], { reject: false }).exitCode === 0;

/**
 * A user of a machine that has this Node, this npm and nothing else: no compiler, no cmake, no
 * python.
 */
export class Newcomer {
  readonly home: string;
  readonly #npm: string;
  readonly #path: string;

  private constructor(home: string, npm: string) {
    this.home = home;
    this.#npm = npm;
    this.#path = join(home, 'path');
  }

  static async with(nodeVersion: string, npmVersion: string): Promise<Newcomer> {
    const npm = await fetchPackage(`npm@${npmVersion}`);
    const newcomer = new Newcomer(mkdtempSync(join(tmpdir(), 'newcomer-')), npm);
    mkdirSync(newcomer.#path);
    symlinkSync(await nodeProgram(nodeVersion), join(newcomer.#path, 'node'));
    symlinkSync('/bin/sh', join(newcomer.#path, 'sh'));
    return newcomer;
  }

  /** Where `npm install -g` puts things. */
  get prefix(): string {
    return join(this.home, 'prefix');
  }

  /**
   * npm without a network, from the cache; what that lacks is downloaded into it first. Returns
   * seconds.
   */
  async npm(args: readonly string[], cwd: string): Promise<number> {
    const offline = () =>
      this.#npmOnce([...args, '--offline'], cwd, { reject: false, withoutNetwork: true });
    const before = performance.now();
    const first = await offline();
    if (first.exitCode === 0) return (performance.now() - before) / 1000;
    if (!first.all.includes('ENOTCACHED')) throw new Error(first.all);
    await this.#fillCache(args, cwd);
    const again = performance.now();
    const second = await offline();
    if (second.exitCode !== 0) throw new Error(second.all);
    return (performance.now() - again) / 1000;
  }

  /** npm's own answers, such as the list of what is installed. */
  async ask(args: readonly string[], cwd: string): Promise<string> {
    return (await this.#npmOnce(args, cwd)).stdout;
  }

  /** A program, where there is nothing but this user's Node and what the options add. */
  run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    const { path, withoutNetwork = false, ...rest } = options;
    const line = [...(withoutNetwork && canTakeNetwork ? unshare : []), program, ...args];
    // Looked up here, and not in the PATH that the program is given.
    const [first, ...others] = line as [string, ...string[]];
    return execa(first === 'unshare' ? '/usr/bin/unshare' : first, others, {
      cwd: this.home,
      timeout: limitMs,
      ...rest,
      env: { ...this.#environment(), ...(path && { PATH: `${this.#path}:${path}` }), ...rest.env },
      extendEnv: false,
      all: true,
    }) as unknown as Promise<Outcome>;
  }

  node(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return this.run(join(this.#path, 'node'), args, options);
  }

  /** npx as this npm brings it. */
  npx(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return this.node([join(this.#npm, 'bin', 'npx-cli.js'), '--offline', ...args], options);
  }

  remove(): void {
    rmSync(this.home, { recursive: true, force: true });
  }

  #npmOnce(args: readonly string[], cwd: string, options: RunOptions = {}): Promise<Outcome> {
    return this.node([join(this.#npm, 'bin', 'npm-cli.js'), ...args], { cwd, ...options });
  }

  /** Does the same elsewhere, with the registry. */
  async #fillCache(args: readonly string[], cwd: string): Promise<void> {
    const elsewhere = mkdtempSync(join(tmpdir(), 'newcomer-warm-'));
    try {
      await execa('cp', ['-a', `${cwd}/.`, elsewhere]);
      await this.#npmOnce(args, elsewhere, {
        env: { npm_config_prefix: join(elsewhere, 'prefix') },
      });
    } finally {
      rmSync(elsewhere, { recursive: true, force: true });
    }
  }

  #environment(): NodeJS.ProcessEnv {
    // Certificates and proxies are the machine's; the registry is whatever its user has set.
    const kept = Object.entries(process.env).filter(([name]) =>
      /^(NODE_EXTRA_CA_CERTS|https?_proxy|no_proxy|npm_config_registry)$/i.test(name),
    );
    return {
      ...Object.fromEntries(kept),
      HOME: this.home,
      PATH: this.#path,
      npm_config_cache: join(installs, 'npm-cache'),
      npm_config_prefix: this.prefix,
      npm_config_audit: 'false',
      npm_config_fund: 'false',
      npm_config_update_notifier: 'false',
    };
  }
}
