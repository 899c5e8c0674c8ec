import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseSchema } from '../src/schema.js';

test('models, fields and lists are read; comments, attributes and other blocks are not', () => {
  const { models } = parseSchema(`
    // model Commented { id Int }
    enum Role {
      ADMIN
    }
    model User {
      id    Int     @id @default(autoincrement()) // the key
      // old  String
      name  String?
      tags  String[]
      posts Post[]  @relation("author")
      @@index([name,
        id])
      @@map("users")
    }
    model Post {
      meta Json @default("{}")
    }`);
  assert.deepEqual([...models.keys()], ['User', 'Post']);
  assert.deepEqual(
    [...(models.get('User') ?? [])],
    [
      ['id', { type: 'Int', isList: false }],
      ['name', { type: 'String', isList: false }],
      ['tags', { type: 'String', isList: true }],
      ['posts', { type: 'Post', isList: true }],
    ],
  );
  assert.equal(models.get('Post')?.get('meta')?.type, 'Json');
});

test('the database url is a variable or a literal', () => {
  assert.deepEqual(parseSchema('datasource db {\n  url = env("DATABASE_URL")\n}').url, { env: 'DATABASE_URL' });
  assert.deepEqual(parseSchema('datasource db {\n  url="postgresql://h/d"\n}').url, { literal: 'postgresql://h/d' });
  assert.equal(parseSchema('datasource db {\n  provider = "postgresql"\n}').url, undefined);
});
