import { computed, useAttrs, useId } from 'vue';

/**
 * The ids that tie a control to its hint and its error, and the attributes that are the control's:
 * all but a class, which places the field as a whole.
 * @param {{ hint?: string, error?: string }} props
 */
export function useField(props) {
  const id = useId();
  const hintId = `${id}-hint`;
  const errorId = `${id}-error`;
  const describedBy = computed(() => {
    const ids = [props.error ? errorId : '', props.hint ? hintId : ''].filter(Boolean);
    return ids.length ? ids.join(' ') : undefined;
  });
  const attributes = useAttrs();
  const rest = computed(() =>
    Object.fromEntries(Object.entries(attributes).filter(([name]) => name !== 'class')),
  );
  return { id, hintId, errorId, describedBy, rest };
}
