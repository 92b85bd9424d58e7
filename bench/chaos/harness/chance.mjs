export const pick = (list) => list[Math.floor(Math.random() * list.length)];
export const between = (least, most) => least + Math.random() * (most - least);
export const shuffled = (list) =>
  list
    .map((each) => [Math.random(), each])
    .sort(([a], [b]) => a - b)
    .map(([, each]) => each);
