export const randomItem = (list) => list[Math.floor(Math.random() * list.length)];
export const randomBetween = (min, max) => min + Math.random() * (max - min);
export const shuffled = (list) =>
  list
    .map((item) => [Math.random(), item])
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
