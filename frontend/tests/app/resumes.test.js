// @vitest-environment happy-dom
import { mount } from '@vue/test-utils';
import { expect, it } from 'vitest';
import ResumeList from '../../src/components/ResumeList.vue';

/** What the list says of a connection that began so. */
function words(outcome, offset, head) {
  const resumes = [{ outcome, epoch: 'e', offset, head, at: 1_795_387_456_664 }];
  return mount(ResumeList, { props: { resumes } }).text();
}

it('tells a reset for age, after which the rest followed, from one of an unknown place', () => {
  expect(words('reset', 3, 20)).toContain('Some of what it missed was removed');
  expect(words('reset', 3, 20)).toContain('from 3 to 20');
  expect(words('reset', 20, 20)).toContain('Its place was unknown');
});
