/** The numbers of a generation that people set. */
export const NUMBERS = [
  { key: 'temperature', name: 'Temperature', help: 'How free the choice of words is; 0 always takes the likeliest', min: 0, max: 2, step: 0.05, placeholder: '0.8' },
  { key: 'num_ctx', name: 'Context', help: 'Tokens the model sees at once', min: 256, max: 1048576, step: 256, placeholder: 'auto' },
  { key: 'num_predict', name: 'Longest answer', help: 'In tokens; -1 has no limit', min: -2, max: 1048576, step: 1, placeholder: 'no limit' },
  { key: 'seed', name: 'Seed', help: 'The same seed gives the same answer', min: 0, max: 4294967295, step: 1, placeholder: 'random' },
  { key: 'top_k', name: 'Top k', help: 'Choose among the k likeliest', min: 0, max: 1000, step: 1, placeholder: '40' },
  { key: 'top_p', name: 'Top p', help: 'Choose among the likeliest that together have this probability', min: 0, max: 1, step: 0.05, placeholder: '0.9' },
  { key: 'min_p', name: 'Min p', help: 'Leave out what is less likely than this share of the likeliest', min: 0, max: 1, step: 0.01, placeholder: '0' },
  { key: 'repeat_penalty', name: 'Repetition', help: 'Above 1 makes repeating less likely', min: 0, max: 2, step: 0.05, placeholder: '1.1' },
] as const;
