/** Milliseconds that a page which woke up waits for a sign of life. */
const PROBE = 2000;

/**
 * Notices a dead server. A browser does not show the server's pings to a page, so the heartbeat sends
 * one of its own after a silence of one interval, and gives the server up after two and a half.
 */
export class Heartbeat {
  #environment;
  #hooks;
  #interval = 0;
  #heard = 0;
  #asked = 0;
  #looked = 0;

  /** By the clock that people set: the other one may stand still while a machine sleeps. */
  #lookedDate = 0;

  /** @type {number | undefined} */
  #timer;

  /** @type {number | undefined} */
  #probing;

  /**
   * @param {import('./environment.js').Environment} environment
   * @param {{ ping: () => void, lost: () => void }} hooks
   */
  constructor(environment, hooks) {
    this.#environment = environment;
    this.#hooks = hooks;
  }

  /** @param {number} seconds between two pings of the server */
  start(seconds) {
    this.#interval = seconds * 1000;
    this.heard();
    this.#looked = this.#heard;
    this.#lookedDate = this.#environment.date();
    this.#look();
  }

  /** Notes that something came. */
  heard() {
    this.#heard = this.#environment.now();
    this.#environment.clearTimeout(this.#probing);
    this.#probing = undefined;
  }

  /** Sends a ping now, instead of waiting for the end of a silence. */
  probe() {
    if (!this.#interval || this.#probing !== undefined) return;
    this.#probing = this.#environment.setTimeout(this.#hooks.lost, PROBE);
    this.#hooks.ping();
  }

  stop() {
    this.#environment.clearTimeout(this.#timer);
    this.#environment.clearTimeout(this.#probing);
    this.#interval = 0;
  }

  /**
   * A timer proves nothing, since timers of pages in the background and of machines that slept are
   * late: asks the server first.
   */
  #look() {
    const now = this.#environment.now();
    const date = this.#environment.date();
    const silence = now - this.#heard;
    const late = Math.max(now - this.#looked, date - this.#lookedDate) > this.#interval;
    if (late || silence >= 2.5 * this.#interval - PROBE) this.probe();
    else if (silence >= this.#interval && now - this.#asked >= this.#interval) {
      this.#asked = now;
      this.#hooks.ping();
    }
    this.#looked = now;
    this.#lookedDate = date;
    this.#timer = this.#environment.setTimeout(() => this.#look(), this.#interval / 5);
  }
}
