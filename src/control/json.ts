/** JSON of values that may hold 64-bit numbers, which become hexadecimal text. */

export function toJson(value: unknown, indent?: number): string {
  const replacer = (_key: string, part: unknown) =>
    typeof part === 'bigint' ? `0x${part.toString(16)}` : part;
  return JSON.stringify(value, replacer, indent);
}
