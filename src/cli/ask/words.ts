/**
 * What users of VPP, Open vSwitch and iproute2 type, as words of ours: it is run, and they are told
 * the word. Pure.
 */

interface Translation {
  readonly theirs: readonly string[];
  readonly ours: readonly string[];
}

const translation = (theirs: string, ours: string): Translation => ({
  theirs: theirs.split(' '),
  ours: ours.split(' '),
});

/** The longer ones come first. What follows the words is kept. */
const translations: readonly Translation[] = [
  translation('show bridge-domain', 'show bridges'),
  translation('show vhost-user', 'show ports'),
  translation('show interface rx-placement', 'show queues'),
  translation('show interface', 'show ports'),
  translation('show hardware-interfaces', 'show ports --wide'),
  translation('show l2fib all', 'show fdb'),
  translation('show l2fib', 'show fdb'),
  translation('show errors', 'show drops'),
  translation('show runtime', 'show workers'),
  translation('show threads', 'show workers'),
  translation('show mac', 'show fdb'),
  translation('list-br', 'show bridges --quiet'),
  translation('list-ports', 'show ports --quiet --bridge'),
  translation('add-br', 'bridge add'),
  translation('del-br', 'bridge remove'),
  translation('del-port', 'port remove'),
  translation('fdb/show', 'show fdb --bridge'),
  translation('fdb del', 'fdb remove'),
  translation('fdb/flush', 'fdb flush --bridge'),
  translation('l2fib flush-mac all', 'fdb flush'),
  translation('dump-ports', 'show ports --wide'),
  translation('dpif-netdev/pmd-stats-show', 'show workers'),
  translation('dpif-netdev/pmd-rxq-show', 'show queues'),
  translation('bridge link', 'show ports'),
  translation('bridge fdb', 'fdb'),
  translation('bridge monitor', 'show events'),
  translation('events', 'show events'),
  translation('port del', 'port remove'),
  translation('bridge del', 'bridge remove'),
];

/** Of `args` from the first word on; undefined if they begin with none of those words. */
export function translated(args: readonly string[]): Translation | undefined {
  return translations.find(({ theirs }) => theirs.every((word, i) => args[i] === word));
}
