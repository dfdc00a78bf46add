declare module 'fs-native-extensions' {
  const locks: {
    /** Takes an exclusive advisory lock on the whole file behind an open descriptor, without waiting. */
    tryLock(fd: number): boolean;
  };
  export default locks;
}
