/** @typedef {{ outcome: string, epoch: string, offset: number, head: number }} Resume */

/**
 * Up to where this tab has everything: an offset of an epoch, for one user and device. It is stored
 * at each step, so a reload goes on from there. The epoch is whatever text the server gave last, and
 * is compared with nothing: only the server knows whether a position holds.
 */
export class Position {
  /** @type {string | undefined} user and device */
  owner;

  /** @type {string | undefined} */
  epoch;

  offset = 0;

  /** What comes up to here is a replay: the state fetched at the last `reset` may have it. */
  head = 0;

  #shelf;

  /** @param {import('./shelf.js').Shelf} shelf */
  constructor(shelf) {
    this.#shelf = shelf;
    Object.assign(this, shelf.get());
  }

  /**
   * Makes it this owner's; returns false if it is somebody else's.
   *
   * @param {string} owner
   */
  belongsTo(owner) {
    this.owner ??= owner;
    return this.owner === owner;
  }

  /**
   * A connection starts here; one that goes on from where we were takes nothing back. That may also be
   * one that was `reset` below the head.
   *
   * False if a handler has moved us since the server was asked, and the server has started anew since
   * the message came: then the server has to be asked about where we are now.
   *
   * @param {Resume} resume
   */
  start({ outcome, epoch, offset, head }) {
    const resumed = outcome === 'resumed';
    const moved = (resumed || offset < head) && offset < this.offset;
    if (moved && epoch !== this.epoch) return false;
    this.epoch = epoch;
    if (!resumed) this.head = head;
    this.#move(moved ? this.offset : offset);
    return true;
  }

  /**
   * Notes that everything up to here was handled.
   *
   * @param {number} offset
   * @param {string} [epoch] the server's newest text, if it gave one
   */
  reach(offset, epoch = this.epoch) {
    if (offset <= this.offset && epoch === this.epoch) return;
    this.epoch = epoch;
    this.#move(Math.max(offset, this.offset));
  }

  forget() {
    this.owner = this.epoch = undefined;
    this.offset = this.head = 0;
    this.#shelf.put(undefined);
  }

  /** @param {number} offset */
  #move(offset) {
    const { owner, epoch, head } = this;
    this.offset = offset;
    this.#shelf.put({ owner, epoch, offset, head });
  }
}
