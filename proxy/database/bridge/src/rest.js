/**
 * Collecting at rest: V8 looks for garbage when it needs room, so that what a load has left behind,
 * some 45 MB, stays until the next one. A collection takes 20 to 30 ms. Needs node's --expose-gc.
 */
const LOOK_EVERY = 2000;
/** The share of a core below which the process is at rest. */
const REST = 0.05;

/** @param {number} [every] in milliseconds */
export function collectAtRest(every = LOOK_EVERY) {
  let since = process.cpuUsage();
  let isCollected = false;
  setInterval(() => {
    const { user, system } = process.cpuUsage(since);
    const isAtRest = user + system < REST * every * 1000;
    if (isAtRest && !isCollected) globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    isCollected = isAtRest;
    since = process.cpuUsage(); // what the collection took is not counted
  }, every).unref();
}
