/** Schemas that the OpenAPI document names once and refers to. */
import type Joi from "joi";

const names = new WeakMap<object, string>();
const schemas = new Map<string, Joi.Schema>();

/** Gives an answer's schema a name; returns the schema. Names are unique over the whole API. */
export function component<S extends Joi.Schema>(name: string, schema: S): S {
  if (schemas.has(name)) throw new Error(`Two schemas are called ${name}`);
  names.set(schema, name);
  schemas.set(name, schema);
  return schema;
}

export const componentName = (schema: Joi.Schema): string | undefined => names.get(schema);
export const components = (): ReadonlyMap<string, Joi.Schema> => schemas;
