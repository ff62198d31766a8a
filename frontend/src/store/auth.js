import { defineStore } from 'pinia';
import { computed, ref, shallowRef } from 'vue';
import { api, ApiError, onSessionOver } from '../services/api.js';
import { joinTabs } from '../services/tabs.js';
import { forgetTab } from '../services/tabMemory.js';
import { deviceName, deviceUuid, osInfo } from '../services/thisDevice.js';
import { connect, disconnect, forget, on } from '../services/websocket.js';
import { sentence } from '../words/errors.js';
import { farewell as farewellFor } from '../words/status.js';

/** @typedef {{ id: number, handle: string, permissions: string[], deviceId?: number }} User */
/** @typedef {{ user_id: number, user_handle?: string, permissions: string[], device_id?: number }} Session */

/** Who is signed in. The connection lives as long as the session does. */
export const useAuth = defineStore('auth', () => {
  /** @type {import('vue').ShallowRef<User | null>} */
  const user = shallowRef(null);
  const signedIn = computed(() => user.value !== null);
  const isAdmin = computed(() => user.value?.permissions.includes('admin') ?? false);
  /** Why the last session ended, a sentence; empty when the user ended it here. */
  const farewell = ref('');
  /** A sentence that says why the app does not know yet who is signed in. */
  const problem = ref('');
  const starting = ref(false);
  /** During a sign-out in this tab the server's close of the connection is no news. */
  let leaving = false;

  /** @type {() => void} */
  let settle = () => {};
  /** @type {Promise<void>} */
  const settled = new Promise((resolve) => (settle = resolve));

  const tellTabs = joinTabs((news) => {
    if (news === 'signed-out') endSession('signed_out');
    else void meet();
  });
  onSessionOver(() => endSession());
  on('status', (status, detail) => {
    if (status === 'signed-out') endSession(detail?.reason);
  });

  /** @param {Session} session */
  function begin(session) {
    user.value = {
      id: session.user_id,
      handle: session.user_handle ?? `user ${session.user_id}`,
      permissions: session.permissions,
      deviceId: session.device_id,
    };
    farewell.value = '';
    connect();
  }

  /**
   * Removes everything of the session from the app, whoever ended it.
   * @param {string} [reason] as the server gave it
   */
  function endSession(reason) {
    if (!user.value || leaving) return;
    finish(farewellFor(reason));
  }

  /** @param {string} words */
  function finish(words) {
    farewell.value = words;
    forget();
    forgetTab();
    user.value = null;
  }

  /**
   * It is known who is signed in, and if somebody is, the connection is on its way; or `problem`
   * says why not, and this may be called again.
   */
  async function start() {
    if (starting.value) return;
    starting.value = true;
    try {
      const session = await currentSession();
      problem.value = '';
      if (session) begin(session);
      else forgetTab();
      settle();
    } catch (error) {
      problem.value = sentence(error);
    } finally {
      starting.value = false;
    }
  }

  /** Another tab signed in, so its session is that of this browser now. */
  async function meet() {
    try {
      const session = await currentSession();
      if (!session) return;
      if (user.value) finish('');
      begin(session);
    } catch {
      // The server is unreachable: the tab keeps what it has until the server tells otherwise.
    }
  }

  /**
   * @param {string} handle
   * @param {string} password
   * @throws {ApiError}
   */
  async function signIn(handle, password) {
    const session = await api.post('/v1/auth/login', {
      user_handle: handle,
      password,
      device_uuid: deviceUuid(),
      device_type: 'web',
      device_name: deviceName(),
      os_info: osInfo(),
    });
    begin(session);
    tellTabs('signed-in');
  }

  /**
   * The session is over on the server too.
   * @throws {ApiError} when the server could not be told; then the user is still signed in, since
   *   only the server can take the cookie back
   */
  async function signOut() {
    leaving = true;
    disconnect();
    try {
      await api.post('/v1/auth/logout');
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) {
        connect();
        throw error;
      }
    } finally {
      leaving = false;
    }
    finish('');
    tellTabs('signed-out');
  }

  /**
   * @param {string} oldPassword
   * @param {string} newPassword
   * @throws {ApiError}
   */
  async function changePassword(oldPassword, newPassword) {
    await api.post('/v1/auth/password', { old_password: oldPassword, new_password: newPassword });
  }

  return {
    ...{ user, signedIn, isAdmin, farewell, problem, starting },
    ...{ start, known: () => settled, signIn, signOut, endSession, changePassword },
  };
});

/** @returns {Promise<Session | null>} */
async function currentSession() {
  try {
    return await api.get('/v1/auth/session');
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return null;
    throw error;
  }
}
