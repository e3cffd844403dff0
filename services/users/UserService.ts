/** Accounts as others and their owner see them. */
import type { Database } from "../../db/knex.js";
import { User } from "../../db/models/User.js";
import { NotFoundError } from "../../utils/errors.js";

export class UserService {
  readonly #database: Database;

  constructor({ database }: { readonly database: Database }) {
    this.#database = database;
  }

  /** Throws `NotFoundError`; accounts that are off count as gone. */
  async find(id: string): Promise<User> {
    const user = await User.query(this.#database.knex).findById(id).whereNull("disabledAt");
    if (user === undefined) throw new NotFoundError();
    return user;
  }
}
