/**
 * The schema of a service's file: the keys of a switch's settings, and those of its process. The
 * build prints it as tsvswitch.schema.json (compile-schema.ts); only that and tests load it.
 */

import Type from 'typebox';
import { logLevels } from '../model/log-levels.ts';
import {
  nameOrNumber,
  octalText,
  path,
  pathText,
  strict,
  switchSettings,
} from '../model/settings-schema.ts';
import { type ControlSettings, type ListenSettings, logFormats } from './settings.ts';

const address = (description: string) => ({
  description,
  pattern: '^([0-9.]*|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$',
  patternErrorMessage: 'an address is such as 127.0.0.1:9477, [::1]:9477 or :9477',
});

export const serviceSettings = Type.Object(
  {
    control: Type.Optional(
      Type.Unsafe<string | ControlSettings>({
        ...Type.Object(
          {
            path: path('The socket file.'),
            mode: Type.Optional(
              Type.String({
                ...octalText,
                description:
                  'Permissions of the file; 600 unless given, 660 with a group, 666 with both.',
              }),
            ),
            group: Type.Optional(nameOrNumber('Who is in this group may do everything.')),
            readers: Type.Optional(nameOrNumber('Who is in this group may only look.')),
          },
          strict,
        ),
        description: 'Takes requests on a unix socket: its path, or a mapping with `path`.',
        type: ['string', 'object'],
        ...pathText,
      }),
    ),
    listen: Type.Optional(
      Type.Unsafe<string | ListenSettings>({
        ...Type.Object(
          {
            address: Type.String(address('The TCP address, such as 127.0.0.1:9443.')),
            certificate: Type.Optional(path('File of the certificate, in PEM.')),
            key: Type.Optional(path('File of its key, in PEM.')),
            token: Type.Optional(
              path('File of the token, made if it is not there; in the state folder unless given.'),
            ),
            readToken: Type.Optional(path('File of a token that may only look.')),
          },
          strict,
        ),
        ...address('Takes requests over TCP: on this address, or a mapping with `address`.'),
        type: ['string', 'object'],
      }),
    ),
    metrics: Type.Optional(
      Type.String(
        address('Serves metrics for Prometheus on this address, such as 127.0.0.1:9477.'),
      ),
    ),
    log: Type.Object(
      {
        level: Type.Enum([...logLevels], { description: 'How much is logged.', default: 'info' }),
        format: Type.Enum([...logFormats], {
          description: 'Sentences for people, or JSON lines for programs.',
          default: 'text',
        }),
      },
      { default: {}, ...strict },
    ),
    sandbox: Type.Boolean({
      description: 'Leaves the process no system calls but those it needs.',
      default: true,
    }),
  },
  strict,
);

export const configFile = Type.Object(
  { ...serviceSettings.properties, ...switchSettings.properties },
  { title: 'tsvswitch', description: 'A switch that runs as a service.', ...strict },
);
