/** The file that `tsvswitch config init` prints: every part of one, commented. */

/** `schema` is the path of tsvswitch.schema.json. */
export function startingFile(schema: string): string {
  return `# yaml-language-server: $schema=${schema}
# tsvswitch: a switch that runs as a service. \`tsvswitch check FILE\` checks this file.

# Takes requests of \`tsvswitch show\`, \`doctor\` and others.
control: /run/tsvswitch/control.sock

# Ports by name. A virtual machine connects to the socket of its port.
ports:
  web: { path: /run/vsw/web.sock }
  # db:
  #   path: /run/vsw/db.sock
  #   mode: 660                      # permissions of the socket, with its group:
  #   group: kvm
  #   bridge: storage                # the bridge is there as soon as a port names it
  #   source:                        # what the machine may send from
  #     macs: ['52:54:00:00:00:02']
  #     addresses: [10.0.0.2]

# bridges:
#   storage: { ageingSeconds: 60 }

# workers: 1                         # polling threads
# cpus: [1]                          # and where they run
`;
}
