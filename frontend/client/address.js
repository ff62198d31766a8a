/**
 * Returns where to connect, and the subprotocols, in which a page of another origin presents its token.
 *
 * @param {string} url of the server, http or https
 * @param {{ instance: string, epoch?: string, offset?: number, snapshot?: boolean, resume?: string }} from
 *   where to go on
 * @param {string | undefined} token
 * @returns {[url: string, protocols: string[]]}
 */
export function addressOf(url, { instance, epoch, offset, snapshot, resume }, token) {
  const query = new URLSearchParams({ instance });
  if (epoch !== undefined) {
    query.set('epoch', epoch);
    query.set('offset', String(offset));
  } else if (resume) query.set('resume', resume);
  if (snapshot) query.set('snapshot', '1');
  const protocols = token ? ['switchboard.v1', 'bearer.' + token] : [];
  return [`${url.replace(/^http/, 'ws')}/v1/ws?${query}`, protocols];
}
