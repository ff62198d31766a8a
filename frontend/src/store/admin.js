/** What the Admin screens show: overview, users, live connections, met limits. */

import { defineStore } from 'pinia';
import { computed, reactive, ref, shallowRef, watch } from 'vue';
import * as api from '../services/admin.js';
import { sentence } from '../words/errors.js';
import { useAuth } from './auth.js';

/**
 * @typedef {import('../services/admin.js').Overview} Overview
 * @typedef {import('../services/admin.js').AdminUser} AdminUser
 * @typedef {import('../services/admin.js').AdminConnection} AdminConnection
 * @typedef {import('../services/admin.js').MetLimit} MetLimit
 * @typedef {import('../services/admin.js').Sort} Sort
 */

export const USERS_PAGE = 25;
export const CONNECTIONS_PAGE = 50;
/** The most that the server answers: they have no pages. */
export const LIMITS_MOST = 200;

/** @type {Record<Sort, 'asc' | 'desc'>} which way round a column is of most use at first */
const FIRST_ORDER = { user: 'asc', address: 'asc', age: 'asc', queue: 'desc', lag: 'desc' };

export const useAdminOverview = defineStore('admin-overview', () => {
  const overview = shallowRef(/** @type {Overview | null} */ (null));
  const asked = useAsked(api.readOverview, (answer) => (overview.value = answer));
  forgetWithUser(asked, () => (overview.value = null));
  return { overview, load: asked.ask, problem: asked.problem };
});

export const useAdminUsers = defineStore('admin-users', () => {
  const rows = ref(/** @type {AdminUser[]} */ ([]));
  const more = ref(false);
  const query = reactive(firstUsersQuery());
  /** Where each page begins, up to the one that is shown. */
  const starts = ref([0]);
  const from = computed(() => (starts.value.length - 1) * USERS_PAGE + 1);
  const asked = useAsked(
    () => (query.user ? readOne(query.user) : api.readUsers(page())),
    (answer) => {
      rows.value = answer.users;
      more.value = answer.more;
    },
  );
  forgetWithUser(asked, () => {
    Object.assign(query, firstUsersQuery());
    starts.value = [0];
    rows.value = [];
    more.value = false;
  });

  function page() {
    const { search, online } = query;
    return { search, online, after: starts.value.at(-1) ?? 0, limit: USERS_PAGE };
  }

  /** @param {Partial<typeof query>} change */
  function find(change) {
    Object.assign(query, change);
    starts.value = [0];
    return asked.ask();
  }

  function next() {
    const last = rows.value.at(-1);
    if (last) starts.value.push(last.id);
    return asked.ask();
  }

  function previous() {
    if (starts.value.length > 1) starts.value.pop();
    return asked.ask();
  }

  /** @param {number} id @param {{disabled?: boolean, admin?: boolean}} change */
  async function change(id, change) {
    const changed = await api.changeUser(id, change);
    rows.value = rows.value.map((row) => (row.id === id ? { ...row, ...changed } : row));
  }

  /** @param {number} id */
  async function remove(id) {
    await api.deleteUser(id);
    rows.value = rows.value.filter((row) => row.id !== id);
    if (rows.value.length === 0) return previous();
    return asked.ask();
  }

  /** @param {{user_handle: string, password?: string, admin?: boolean}} user */
  async function add(user) {
    const added = await api.addUser(user);
    void asked.ask();
    return added;
  }

  return {
    ...{ rows, more, query, from, starts, ...loading(asked), load: asked.ask },
    ...{ find, next, previous, add, change, remove, setPassword: api.setPassword },
  };
});

/** @returns {{search: string, online: boolean, user: number | undefined}} */
function firstUsersQuery() {
  return { search: '', online: false, user: undefined };
}

/**
 * A page of one user: ids are in order, so theirs is the first above the one before.
 *
 * @param {number} id
 */
async function readOne(id) {
  const { users } = await api.readUsers({ search: '', online: false, after: id - 1, limit: 1 });
  return { users: users.filter((user) => user.id === id), more: false };
}

export const useAdminConnections = defineStore('admin-connections', () => {
  const rows = ref(/** @type {AdminConnection[]} */ ([]));
  const total = ref(0);
  const readAt = ref(0);
  const query = reactive(firstQuery());
  const asked = useAsked(
    () => api.readConnections({ ...query, limit: CONNECTIONS_PAGE }),
    (answer) => {
      rows.value = answer.connections;
      total.value = answer.total;
      readAt.value = Date.now();
      backToRows();
    },
  );
  forgetWithUser(asked, () => {
    Object.assign(query, firstQuery());
    rows.value = [];
    total.value = 0;
  });

  /** The shown page may no longer exist once connections have ended. */
  function backToRows() {
    if (rows.value.length > 0 || total.value === 0) return;
    query.offset = Math.floor((total.value - 1) / CONNECTIONS_PAGE) * CONNECTIONS_PAGE;
    void asked.ask();
  }

  /** @param {Partial<typeof query>} change anything but the page, which becomes the first */
  function find(change) {
    Object.assign(query, { offset: 0 }, change);
    return asked.ask();
  }

  /** @param {Sort} sort the same again turns the order round */
  function sortBy(sort) {
    const turned = query.order === 'asc' ? 'desc' : 'asc';
    return find({ sort, order: sort === query.sort ? turned : FIRST_ORDER[sort] });
  }

  /** @param {1 | -1} step */
  function turn(step) {
    query.offset = Math.max(0, query.offset + step * CONNECTIONS_PAGE);
    return asked.ask();
  }

  return {
    ...{ rows, total, readAt, query, ...loading(asked), load: asked.ask, find, sortBy, turn },
    ...{ close: api.closeConnection, test: api.sendTestMessage },
  };
});

export const useAdminLimits = defineStore('admin-limits', () => {
  const rows = shallowRef(/** @type {MetLimit[]} */ ([]));
  const asked = useAsked(
    () => api.readLimits(LIMITS_MOST),
    (answer) => (rows.value = answer.limits),
  );
  forgetWithUser(asked, () => (rows.value = []));
  return { rows, ...loading(asked), load: asked.ask };
});

/**
 * @returns {{search: string, user: number | undefined, sort: Sort, order: 'asc' | 'desc', offset: number}}
 */
function firstQuery() {
  return { search: '', user: undefined, sort: 'age', order: 'asc', offset: 0 };
}

/**
 * A value that is fetched again and again; only the answer to the latest request counts.
 *
 * @template T
 * @param {() => Promise<T>} question
 * @param {(answer: T) => void} take
 */
function useAsked(question, take) {
  const busy = ref(false);
  const loaded = ref(false);
  const problem = ref('');
  let turn = 0;

  async function ask() {
    const mine = ++turn;
    busy.value = true;
    try {
      const answer = await question();
      if (mine === turn) settle('', () => take(answer));
    } catch (error) {
      if (mine === turn) settle(sentence(error));
    }
  }

  /** @param {string} fault @param {() => void} [then] */
  function settle(fault, then) {
    busy.value = false;
    problem.value = fault;
    loaded.value ||= fault === '';
    then?.();
  }

  /** Ignores the answer to a request that is under way. */
  function drop() {
    turn += 1;
    settle('');
    loaded.value = false;
  }

  return { ask, drop, busy, loaded, problem };
}

/** @param {ReturnType<typeof useAsked<any>>} asked */
function loading({ busy, loaded, problem }) {
  return { busy, loaded, problem };
}

/**
 * Another user must find nothing of this one.
 *
 * @param {ReturnType<typeof useAsked<any>>} asked
 * @param {() => void} forget
 */
function forgetWithUser(asked, forget) {
  const auth = useAuth();
  watch(
    () => auth.user?.id,
    () => {
      asked.drop();
      forget();
    },
  );
}
