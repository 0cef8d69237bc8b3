// What the adapters share.

export const bytes = (base64) => Buffer.from(base64, "base64");
export const binary = (buffer) => ({ base64: Buffer.from(buffer).toString("base64") });

export function asText(value) {
  return typeof value === "boolean" ? (value ? "true" : "false") : String(value);
}

/** Resolves by `resolve(value)`, fails by `reject(error)` or after 15 seconds. */
export function awaited(what, start) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${what}`)), 15_000);
    const end = (settle) => (value) => {
      clearTimeout(timer);
      settle(value);
    };
    start(end(resolve), end(reject));
  });
}
