-- The tables of schema.prisma.
CREATE TYPE "Role" AS ENUM ('ADMIN', 'EDITOR', 'READER');

CREATE TABLE "Author" (
    id serial PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text,
    role "Role" NOT NULL DEFAULT 'READER',
    age integer
);

CREATE TABLE "Profile" (
    id serial PRIMARY KEY,
    bio text NOT NULL,
    data jsonb,
    author_id integer NOT NULL UNIQUE REFERENCES "Author" ON DELETE CASCADE
);

CREATE TABLE "Post" (
    id text PRIMARY KEY,
    title text NOT NULL,
    views integer NOT NULL DEFAULT 0,
    published boolean NOT NULL DEFAULT false,
    meta jsonb,
    created timestamp(3) NOT NULL DEFAULT current_timestamp,
    author_id integer REFERENCES "Author"
);

CREATE TABLE "Tag" (id serial PRIMARY KEY, label text NOT NULL UNIQUE);

CREATE TABLE "_PostToTag" (
    "A" text NOT NULL REFERENCES "Post" ON DELETE CASCADE,
    "B" integer NOT NULL REFERENCES "Tag" ON DELETE CASCADE,
    UNIQUE ("A", "B")
);

CREATE TABLE "Pair" ("left" text, "right" text, note text, PRIMARY KEY ("left", "right"));

CREATE TABLE "Sample" (
    id serial PRIMARY KEY,
    text text,
    number integer,
    big bigint,
    ratio double precision,
    amount decimal(65, 30),
    flag boolean,
    moment timestamptz(6),
    stamp timestamp(3),
    day date,
    blob bytea,
    doc jsonb,
    role "Role",
    uuid uuid,
    texts text[],
    numbers integer[],
    bigs bigint[],
    ratios double precision[],
    amounts decimal(65, 30)[],
    flags boolean[],
    moments timestamptz(6)[],
    blobs bytea[],
    docs jsonb[],
    roles "Role"[]
);
