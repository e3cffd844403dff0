import type { ValidateFunction } from "ajv";
import { expect } from "chai";
import { compileSchema, contract } from "../support/contract.js";

interface Media {
  readonly schema?: object;
  readonly example?: unknown;
}

/** Every body in the document, with the place where it stands. */
function* bodiesIn(
  value: unknown,
  place: string,
): Generator<readonly [place: string, type: string, media: Media]> {
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    if (key === "content") {
      for (const [type, media] of Object.entries(inner as Record<string, Media>)) yield [place, type, media];
    } else if (key !== "example") yield* bodiesIn(inner, `${place} ${key}`);
  }
}

describe("examples in the OpenAPI document", () => {
  const bodies = [...bodiesIn(contract.paths, "")].filter(([, type]) => /[/+]json$/.test(type));

  it("stand beside every JSON body, of requests, answers and problems alike", () => {
    expect(bodies.length).to.be.above(300);
    // An upload is a file of the caller's, and the document itself is what it is an example of.
    const without = bodies
      .filter(([, , { example }]) => example === undefined)
      .map(([place]) => place.trim());
    expect(
      without.filter((place) => !/^\/api\/v1\/imports post requestBody|^\/openapi/.test(place)),
    ).to.deep.equal([]);
  });

  it("are as their schemas say", () => {
    const validators = new Map<string, ValidateFunction>();
    const validatorOf = (schema: object): ValidateFunction => {
      const text = JSON.stringify(schema);
      const validate = validators.get(text) ?? compileSchema(schema);
      validators.set(text, validate);
      return validate;
    };
    const wrong = bodies.flatMap(([place, , { schema = {}, example }]) => {
      if (example === undefined) return [];
      const validate = validatorOf(schema);
      if (validate(example)) return [];
      const problems = (validate.errors ?? []).map(
        ({ instancePath, message }) => `${instancePath} ${message}`,
      );
      return [`${place.trim()}: ${problems.join("; ")}`];
    });
    expect(wrong).to.deep.equal([]);
  });
});
