/** The server's admin API. Every function rejects with ApiError. */

import { api } from './api.js';

/**
 * @typedef {object} Overview
 * @property {string} server_version
 * @property {number} started_at milliseconds since 1970
 * @property {number} clock_ahead_seconds how far the server's clock has jumped; 0 while it is trusted
 * @property {number} users
 * @property {number} users_online
 * @property {number} devices_online
 * @property {number} connections
 * @property {string} epoch
 * @property {number} head
 *
 * @typedef {object} AdminUser
 * @property {number} id
 * @property {string} [user_handle] none for a user of JWTs
 * @property {string} [iss]
 * @property {string} [sub]
 * @property {string[]} permissions
 * @property {boolean} disabled
 * @property {number} created_at milliseconds since 1970
 * @property {number} devices
 * @property {number} connections
 *
 * @typedef {object} AdminConnection
 * @property {string} connection_id
 * @property {number} user_id
 * @property {string} [user_handle]
 * @property {string} [sub] of a user of JWTs
 * @property {number} device_id
 * @property {string} [device_name]
 * @property {string} device_type
 * @property {string} instance
 * @property {string} address
 * @property {boolean} positioned
 * @property {boolean} behind
 * @property {boolean} tailed whether an operator follows what goes in and out
 * @property {number} queue_frames
 * @property {number} queue_bytes
 * @property {number} lag offsets behind the head of its user
 * @property {number} connected_at milliseconds since 1970
 * @property {number} heard_seconds
 * @property {number} frames_in
 * @property {number} frames_out
 * @property {number} dropped
 *
 * @typedef {object} MetLimit
 * @property {number} user_id
 * @property {string} [user_handle] none for a user of JWTs or a deleted one
 * @property {string} [sub] of a user of JWTs
 * @property {string} limit
 * @property {number} count how often since `began_at`
 * @property {number} began_at milliseconds since 1970
 * @property {number} last_at milliseconds since 1970
 *
 * @typedef {'age' | 'queue' | 'lag' | 'user' | 'address'} Sort
 * @typedef {{search: string, online: boolean, after: number, limit: number}} UsersQuery
 * @typedef {{search: string, user?: number, sort: Sort, order: 'asc' | 'desc', offset: number, limit: number}} ConnectionsQuery
 */

/** @returns {Promise<Overview>} */
export function readOverview() {
  return api.get('/v1/admin/overview');
}

/**
 * @param {UsersQuery} query
 * @returns {Promise<{users: AdminUser[], more: boolean}>}
 */
export function readUsers({ search, online, after, limit }) {
  return api.get(withQuery('/v1/admin/users', { search, online: online ? 1 : '', after, limit }));
}

/**
 * @param {{user_handle: string, password?: string, admin?: boolean}} user
 * @returns {Promise<AdminUser & {password?: string}>} with the password that the server made, if it did
 */
export function addUser(user) {
  return api.post('/v1/admin/users', user);
}

/**
 * @param {number} id
 * @param {{disabled?: boolean, admin?: boolean}} change
 * @returns {Promise<AdminUser>}
 */
export function changeUser(id, change) {
  return api.patch(`/v1/admin/users/${id}`, change);
}

/**
 * Ends every session of the user.
 *
 * @param {number} id
 * @param {string} [newPassword] left out, the server makes one
 * @returns {Promise<{password?: string}>}
 */
export function setPassword(id, newPassword) {
  return api.post(
    `/v1/admin/users/${id}/password`,
    newPassword ? { new_password: newPassword } : {},
  );
}

/**
 * Where a browser downloads everything that is kept of the user; it sends the cookie.
 *
 * @param {number} id
 * @returns {string}
 */
export function exportPath(id) {
  return `/v1/admin/users/${id}/export`;
}

/** @param {number} id @returns {Promise<void>} */
export function deleteUser(id) {
  return api.delete(`/v1/admin/users/${id}`);
}

/**
 * @param {ConnectionsQuery} query
 * @returns {Promise<{total: number, connections: AdminConnection[]}>}
 */
export function readConnections(query) {
  return api.get(withQuery('/v1/admin/connections', query));
}

/**
 * @param {number} limit
 * @returns {Promise<{limits: MetLimit[]}>} the newest first
 */
export function readLimits(limit) {
  return api.get(withQuery('/v1/admin/limits', { limit }));
}

/** @param {string} id @returns {Promise<void>} */
export function closeConnection(id) {
  return api.delete(`/v1/admin/connections/${encodeURIComponent(id)}`);
}

/**
 * @param {string} id
 * @param {{type?: string, payload?: unknown}} message
 * @returns {Promise<{taken: boolean}>}
 */
export function sendTestMessage(id, message = {}) {
  return api.post(`/v1/admin/connections/${encodeURIComponent(id)}/messages`, message);
}

/**
 * @param {string} path
 * @param {Record<string, string | number | undefined>} values blank ones are left out
 */
function withQuery(path, values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values))
    if (value !== undefined && value !== '') query.set(name, String(value));
  return `${path}?${query}`;
}
