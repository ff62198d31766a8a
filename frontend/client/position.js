/**
 * Up to where this tab has everything: an offset of an epoch, for one user and device. It is stored
 * at each step, so a reload goes on from there.
 */
export class Position {
  /** @type {string | undefined} user and device */
  owner;

  /** @type {string | undefined} */
  epoch;

  offset = 0;

  #shelf;

  /** @param {import('./shelf.js').Shelf} shelf */
  constructor(shelf) {
    this.#shelf = shelf;
    Object.assign(this, shelf.get());
  }

  /**
   * False if what is known here is somebody else's; else it is this owner's from now on.
   *
   * @param {string} owner
   */
  belongsTo(owner) {
    this.owner ??= owner;
    return this.owner === owner;
  }

  /**
   * A connection starts here; one that goes on from where we are takes nothing back.
   *
   * @param {string} epoch
   * @param {number} offset
   * @param {boolean} resumed
   */
  start(epoch, offset, resumed) {
    if (resumed && epoch === this.epoch && offset <= this.offset) return;
    this.epoch = epoch;
    this.#move(offset);
  }

  /**
   * Everything up to here was handled.
   *
   * @param {number} offset
   */
  reach(offset) {
    if (offset > this.offset) this.#move(offset);
  }

  forget() {
    this.owner = this.epoch = undefined;
    this.offset = 0;
    this.#shelf.put(undefined);
  }

  /** @param {number} offset */
  #move(offset) {
    const { owner, epoch } = this;
    this.offset = offset;
    this.#shelf.put({ owner, epoch, offset });
  }
}
