// @vitest-environment happy-dom
import { mount } from '@vue/test-utils';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { PlaygroundServer } from './playground.js';
import { signedInTab } from './tab.js';
import { until, PATIENT } from './until.js';

vi.setConfig(PATIENT);

/** @type {PlaygroundServer} */
let server;
/** @type {import('@vue/test-utils').VueWrapper[]} */
const mounted = [];

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  server = new PlaygroundServer().install();
});

afterEach(() => {
  for (const wrapper of mounted.splice(0)) wrapper.unmount();
  server.down = true;
  server.closeAll(1000, 'replaced');
  vi.unstubAllGlobals();
});

/** Ada's Playground; her television is device 2. */
async function playground() {
  const tab = await signedInTab();
  server.addDevice(1, { device_name: 'Kitchen TV', device_type: 'android_tv' });
  const { default: Screen } = await import('../../src/screens/PlaygroundScreen.vue');
  const { useMessages } = await import('../../src/store/messages.js');
  const messages = useMessages(tab.pinia);
  const screen = mount(Screen, { attachTo: document.body, global: { plugins: [tab.pinia] } });
  mounted.push(screen);
  await until(() => screen.text().includes('Kitchen TV'));
  return { ...tab, screen, messages };
}

/** @typedef {Awaited<ReturnType<typeof playground>>['screen']} Screen */

/** @param {Screen} screen @param {string} label */
function field(screen, label) {
  const name = screen.findAll('label').find((one) => one.text() === label);
  return screen.get(`[id="${name?.attributes('for')}"]`);
}

/** @param {Screen} screen @param {string} words */
function button(screen, words) {
  const found = screen.findAll('button').find((one) => one.text().startsWith(words));
  if (!found) throw new Error(`there is no button ${words}`);
  return found;
}

/** @param {Screen} screen @param {string} words */
function says(screen, words) {
  return until(() => screen.text().includes(words));
}

it('offers the devices by name, and tells who took the message', async () => {
  const { screen } = await playground();
  const options = field(screen, 'To')
    .findAll('option')
    .map((option) => option.text());
  expect(options.slice(0, 2)).toEqual(['My other devices', 'All my devices']);
  expect(options.at(-1)).toBe('Kitchen TV (away)');
  await field(screen, 'To').setValue('2');
  await screen.get('form').trigger('submit');
  await says(screen, 'Taken by Kitchen TV.');
  expect(server.sent[0]).toMatchObject({ to: 2, payload: { text: 'hello' } });
});

it('says what is wrong while it is typed, and sends nothing then', async () => {
  const { screen } = await playground();
  await field(screen, 'Payload').setValue('{\n"a": }');
  expect(screen.text()).toContain('Line 2: this is no JSON value');
  await screen.get('form').trigger('submit');
  await until(() => document.activeElement === field(screen, 'Payload').element);
  expect(server.sent).toEqual([]);
});

it('knows how much this server takes', async () => {
  server.maxMessageBytes = 2000;
  const { screen } = await playground();
  await field(screen, 'Payload').setValue(`"${'x'.repeat(1000)}"`);
  expect(screen.text()).toContain('Too large: 1002 bytes, and 976 fit into a message.');
});

it('asks for the key of latest only when one tries to send without', async () => {
  const { screen } = await playground();
  await field(screen, 'Kept').setValue('latest');
  expect(screen.text()).not.toContain('Give it a key');
  await screen.get('form').trigger('submit');
  await says(screen, 'Give it a key');
  await field(screen, 'Key').setValue('volume');
  await screen.get('form').trigger('submit');
  await until(() => server.sent.length === 1);
  expect(server.sent[0]).toMatchObject({ store: 'latest', key: 'volume' });
});

it('deletes a latest value, which needs its key alone', async () => {
  const { screen } = await playground();
  await field(screen, 'Kept').setValue('delete');
  expect(screen.findAll('label').map((label) => label.text())).not.toContain('Payload');
  await field(screen, 'Key').setValue('volume');
  await screen.get('form').trigger('submit');
  await says(screen, 'Deleted as offset 1.');
  expect(screen.get('[data-testid=send]').text()).toContain('delete volume');
  expect(server.sent[0]).toMatchObject({ key: 'volume', delete: true, payload: null });
});

it('shows when a message was sent that came after an absence, with the day', async () => {
  const { screen } = await playground();
  const sent = new Date(2026, 0, 2, 3, 4, 5);
  server.push({ type: 'note.text', payload: 1, offset: 3, time: sent.getTime() });
  server.push({ type: 'audio.volume', offset: 4, time: Date.now(), key: 'hall', deleted: true });
  await until(() => screen.findAll('[data-testid=message]').length === 2);
  const [deletion, note] = screen.findAll('[data-testid=message]');
  expect(note.get('time').attributes('datetime')).toBe(sent.toISOString());
  expect(note.get('time').text()).toContain('2026');
  expect(note.get('time').attributes('title')).toMatch(/^Sent .*2026.*, came /);
  expect(deletion.text()).toContain('hall');
  expect(deletion.text()).toContain('deleted');
  expect(deletion.get('time').text()).not.toContain('2026');
  await field(screen, 'Filter').setValue('HALL');
  expect(screen.findAll('[data-testid=message]')).toHaveLength(1);
});

it('sends on Ctrl+Enter from any field', async () => {
  const { screen } = await playground();
  await field(screen, 'Payload').trigger('keydown', { key: 'Enter', ctrlKey: true });
  await until(() => server.sent.length === 1);
});

it('shows that a repeat with the same message_id counts once', async () => {
  const { screen } = await playground();
  await field(screen, 'Kept').setValue('log');
  await screen.get('form').trigger('submit');
  await says(screen, 'Kept as offset 1.');
  await button(screen, 'Send again with the same message_id').trigger('click');
  await says(screen, 'The server had it already, as offset 1: it counts once.');
});

it('shows a kept message as waiting while offline, and as accepted after', async () => {
  const { screen } = await playground();
  await field(screen, 'Kept').setValue('log');
  await button(screen, 'Go offline').trigger('click');
  await screen.get('form').trigger('submit');
  await says(screen, 'One message waits in the outbox');
  expect(screen.get('[data-testid=send]').attributes('data-status')).toBe('waiting');
  await button(screen, 'Go online').trigger('click');
  await says(screen, 'Kept as offset 1.');
  expect(screen.get('[data-testid=send]').attributes('data-status')).toBe('delivered');
});

it('has a button that tells the state, also when the server closed for good', async () => {
  const { screen } = await playground();
  server.closeAll(1000, 'too_many');
  await says(screen, 'This page is not connected. Nothing waits in the outbox.');
  expect(screen.text()).not.toContain('Go offline');
  await button(screen, 'Connect now').trigger('click');
  await until(() => screen.findAll('button').some((one) => one.text() === 'Go offline'));
  expect(screen.text()).not.toContain('not connected');
});

it('names nobody as online while there is no connection', async () => {
  const { screen } = await playground();
  server.connectElsewhere(2, 1);
  await says(screen, 'Kitchen TV (online)');
  await button(screen, 'Go offline').trigger('click');
  await until(() => !screen.text().includes('(online)'));
  expect(screen.text()).toContain('Kitchen TV');
  expect(screen.text()).not.toContain('(away)');
});

it('filters the feed by type and payload, and marks what it found', async () => {
  const { screen } = await playground();
  server.push({ type: 'note.text', payload: { text: 'Bring bread' }, from: { device_id: 2 } });
  server.push({ type: 'player.volume', payload: { level: 5 } });
  await until(() => screen.findAll('[data-testid=message]').length === 2);
  expect(screen.get('[data-testid=message]').text()).toContain('from the server');
  await field(screen, 'Filter').setValue('BREAD');
  const [row, ...others] = screen.findAll('[data-testid=message]');
  expect(others).toEqual([]);
  expect(row.text()).toContain('from Kitchen TV');
  expect(row.get('mark').text()).toBe('bread');
  await field(screen, 'Filter').setValue('nowhere');
  expect(screen.text()).toContain('No message matches');
  await button(screen, 'Show all').trigger('click');
  await field(screen, 'Feature').setValue('player');
  expect(screen.findAll('[data-testid=message]')).toHaveLength(1);
});

it('counts what arrives while paused, and shows it on going on', async () => {
  const { screen, messages } = await playground();
  await button(screen, 'Pause').trigger('click');
  server.push({ type: 'note.text' });
  await says(screen, '1 new');
  expect(screen.findAll('[data-testid=message]')).toHaveLength(0);
  await button(screen, 'Resume').trigger('click');
  expect(screen.findAll('[data-testid=message]')).toHaveLength(1);
  await button(screen, 'Clear').trigger('click');
  expect(messages.arrivals).toEqual([]);
});

it('copies the feed as JSON, oldest first, as it was on the wire', async () => {
  const { screen } = await playground();
  const writeText = vi.spyOn(navigator.clipboard, 'writeText').mockResolvedValue();
  server.push({ type: 'a.one', payload: 1, offset: 3, time: 5, key: 'k' });
  server.push({ type: 'b.two', snapshot: true, from: { device_id: 2, instance: 'x' } });
  server.push({ type: 'c.three', offset: 4, replayed: true });
  await until(() => screen.findAll('[data-testid=message]').length === 3);
  const chips = screen.findAll('[data-testid=message]').map((row) => row.find('.chip').text());
  expect(chips).toEqual(['replayed', 'snapshot', 'k']);
  await button(screen, 'Copy all').trigger('click');
  const copied = JSON.parse(writeText.mock.calls[0][0]);
  expect(copied).toMatchObject([
    { type: 'a.one', payload: 1, offset: 3, time: 5, key: 'k' },
    { type: 'b.two', payload: null, snapshot: true, from: { device_id: 2, instance: 'x' } },
    { type: 'c.three', payload: null, offset: 4, replayed: true },
  ]);
  expect(copied[0]).not.toHaveProperty('snapshot');
  expect(copied[1]).not.toHaveProperty('deleted');
  expect(Date.now() - Date.parse(copied[0].received_at)).toBeLessThan(86_400_000);
  expect(copied[0]).not.toHaveProperty('replayed');
});
