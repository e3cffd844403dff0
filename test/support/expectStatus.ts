import type { Answer } from "./http.js";

/** The answer itself when it has this status; otherwise throws with what it said, which `expect` would hide. */
export function expectStatus(status: number, answer: Answer): Answer {
  if (answer.status === status) return answer;
  throw new Error(`Expected ${status}, got ${answer.status}: ${JSON.stringify(answer.body)}`);
}
