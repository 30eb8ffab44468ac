/** The names of transformers up to version 4 for those from version 5 on. */
export function oldName(name: string): string {
  return name
    .replace(/^(vit\.|deit\.|)layers\./, '$1encoder.layer.')
    .replace(
      /attention\.([qkv])_proj\./,
      (_, part: 'q' | 'k' | 'v') => `attention.attention.${{ q: 'query', k: 'key', v: 'value' }[part]}.`,
    )
    .replace('attention.o_proj.', 'attention.output.dense.')
    .replace('mlp.fc1.', 'intermediate.dense.')
    .replace('mlp.fc2.', 'output.dense.')
}
