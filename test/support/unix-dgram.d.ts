/** What the tests use of the package unix-dgram, which has no types of its own. */
declare module 'unix-dgram' {
  export interface UnixDgramSocket {
    bind(path: string): void;
    /** Calls back before it returns. */
    send(
      bytes: Buffer,
      offset: number,
      length: number,
      path: string,
      callback: (failure?: Error) => void,
    ): void;
    /** Once. */
    close(): void;
  }
  const unixDgram: {
    createSocket(type: 'unix_dgram', onDatagram?: (bytes: Buffer) => void): UnixDgramSocket;
  };
  export default unixDgram;
}
