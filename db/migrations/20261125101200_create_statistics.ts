import type { Knex } from "knex";

/** A list of one kind in a row of stats_years: ids or times, and plays and milliseconds of each. */
const list = (keys: string, type: string, of: string): string => `
      ${keys} ${type} not null,
      ${of}_plays integer[] not null,
      ${of}_ms bigint[] not null,
      constraint stats_years_${of}_lists check (
        cardinality(${of}_plays) = cardinality(${keys}) and cardinality(${of}_ms) = cardinality(${keys})
      )`;

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table stats_users (
      user_id uuid not null,
      history_version bigint not null,
      time_zone text not null,
      build bigint not null,
      built_at timestamptz not null,
      build_ms integer not null,
      constraint stats_users_pkey primary key (user_id),
      constraint stats_users_user foreign key (user_id) references users (id) on delete cascade,
      constraint stats_users_build_positive check (build > 0 and build_ms >= 0)
    );
    comment on table stats_users is 'What the sums in stats_years were made from. They are read only while this is how things stand. See docs/adr/0017.';
    comment on column stats_users.history_version is 'version of the topic history in cache_versions; 0: there was none';
    comment on column stats_users.time_zone is 'as in users when it was built: in it the years begin';
    comment on column stats_users.build is 'grows with each build, so that two statements can tell that they read the same';

    create table stats_years (
      user_id uuid not null,
      year smallint not null,
      fingerprint bigint not null,
      first_at timestamptz not null,
      last_at timestamptz not null,
      plays integer not null,
      ms_played bigint not null,
      private integer not null,
      ${list("artist_ids", "bigint[]", "artist")},
      ${list("album_ids", "bigint[]", "album")},
      ${list("track_ids", "bigint[]", "track")},
      ${list("days", "integer[]", "day")},
      ${list("hours", "integer[]", "hour")},
      constraint stats_years_pkey primary key (user_id, year),
      constraint stats_years_user foreign key (user_id) references users (id) on delete cascade,
      constraint stats_years_not_empty check (plays > 0 and first_at <= last_at and private between 0 and plays),
      constraint stats_years_year_range check (year between 0 and 9999)
    );
    comment on table stats_years is 'Sums over the counted plays of one user in one year. Made from listening_history by services/stats/rebuild.ts, and can be made again at any time.';
    comment on column stats_years.year is 'of the user''s time zone; 0: all of time';
    comment on column stats_years.fingerprint is 'of the plays, 53 bits of a hash: a year that has the one it had is not built again; 0 for all of time';
    comment on column stats_years.private is 'how many of the plays are of private sessions: others may be shown these sums only when there are none';
    comment on column stats_years.artist_ids is 'most plays first, then by id; album_ids and track_ids likewise';
    comment on column stats_years.days is 'days with plays since 1970-01-01, as the user''s time zone tells them, in order; none for all of time';
    comment on column stats_years.hours is 'minutes from 1970-01-01 UTC to the start of each local hour with plays, in order; none for all of time';

    create table stats_moves (
      id bigint generated always as identity,
      user_id uuid not null,
      constraint stats_moves_pkey primary key (id),
      constraint stats_moves_user foreign key (user_id) references users (id) on delete cascade
    );
    create index stats_moves_by_user on stats_moves (user_id);
    comment on table stats_moves is 'Users some of whose plays have moved to another artist, album or track. Rows are only ever added, so nobody waits; the next build takes away those that it has seen.';

    create function note_moved_plays() returns trigger language plpgsql as $$
    begin
      insert into stats_moves (user_id)
      select distinct n.user_id from plays_then o join plays_now n using (id)
       where (o.artist_id, o.track_id) is distinct from (n.artist_id, n.track_id) or o.album_id is distinct from n.album_id;
      return null;
    end $$;
    comment on function note_moved_plays() is 'a trigger, because a merge moves the plays of everybody by foreign keys and announces no history';
    create trigger plays_moved after update on listening_history
      referencing old table as plays_then new table as plays_now
      for each statement execute function note_moved_plays();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger plays_moved on listening_history;
    drop function note_moved_plays();
    drop table stats_moves, stats_years, stats_users;
  `);
}
