/** JSON of values that may hold 64-bit numbers, which become hexadecimal text. */

export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'bigint' ? `0x${part.toString(16)}` : part,
  );
}
