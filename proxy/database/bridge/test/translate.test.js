import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseSchema } from '../src/schema.js';
import { translateAnswer, translateQuery, untag } from '../src/translate.js';

const schema = parseSchema(`
model User {
  id      Int @id
  doc     Json?
  docs    Json[]
  posts   Post[]
  profile Profile?
  pet     Pet?
}
model Post {
  id   Int
  meta Json?
  user User
}
model Profile {
  id   Int
  data Json?
}
model Pet {
  id   Int
  note Json?
  is   Json?
}
model UserOrThrow {
  id Int
}
`);

/** @param {string} text */
const parsed = (text) => JSON.parse(translateQuery(text, schema).json);
/** @param {string} text of arguments */
const args = (text) => parsed(`query { result: findManyUser (${text}) { id } }`).query.arguments;
/** @param {string} value */
const json = (value) => ({ $type: 'Json', value });

test('an operation becomes its action and model', () => {
  /** @type {[string, string, string | undefined][]} */
  const operations = [
    ['findUniqueUser', 'findUnique', 'User'],
    ['findFirstPostOrThrow', 'findFirstOrThrow', 'Post'],
    ['findUniqueUserOrThrow', 'findUnique', 'UserOrThrow'],
    ['createManyUser', 'createMany', 'User'],
    ['upsertOneUser', 'upsertOne', 'User'],
    ['aggregateUser', 'aggregate', 'User'],
    ['groupByUser', 'groupBy', 'User'],
    ['executeRaw', 'executeRaw', undefined],
  ];
  for (const [operation, action, model] of operations) {
    const { json: text, alias } = translateQuery(`mutation { result: ${operation}(query: "") { id } }`, schema);
    assert.equal(JSON.parse(text).action, action);
    assert.equal(JSON.parse(text).modelName, model);
    assert.equal(alias, 'result');
  }
});

test('what is no query of ours is refused with a word on why', () => {
  for (const [text, why] of /** @type {const} */ ([
    ['query { result: findManyNobody { id } }', /no such operation or model/],
    ['query { a: findManyUser { id } b: findManyUser { id } }', /exactly one root field/],
    ['query { a } query { b }', /exactly one operation/],
    ['query { result: findManyUser (where: {id: $x}) { id } }', /variables/],
    ['query { result: findManyUser (where: {id: 1) { id } }', /Failed to parse/],
    ['', /Failed to parse/],
  ])) {
    assert.throws(() => translateQuery(text, schema), { name: 'SyntaxError', message: why });
  }
});

test('numbers keep their digits', () => {
  const { json: text } = translateQuery(
    'query { result: findManyUser (where: {id: 9223372036854775807, n: -1.50e-7, m: 2.0}) { id } }',
    schema,
  );
  assert.match(text, /"id":9223372036854775807,"n":-1.50e-7,"m":2.0/);
});

test('strings, lists, null and enums', () => {
  assert.deepEqual(args(String.raw`where: {a: "q\"\\ \n\u2603 ☃", b: [1, "x", [true]], c: null, d: asc}`), {
    where: { a: 'q"\\ \n☃ ☃', b: [1, 'x', [true]], c: null, d: 'asc' },
  });
});

test('selections with arguments and inner selections', () => {
  assert.deepEqual(parsed('query { result: findManyUser { id posts(take: 1) { id } _count { _all } } }').query, {
    arguments: {},
    selection: {
      id: true,
      posts: { arguments: { take: 1 }, selection: { id: true } },
      _count: { arguments: {}, selection: { _all: true } },
    },
  });
});

test('documents in data are tagged, other strings are not', () => {
  assert.deepEqual(args('data: {doc: "{}", name: "{}", docs: ["1", "2"]}').data, {
    doc: json('{}'),
    name: '{}',
    docs: [json('1'), json('2')],
  });
  assert.deepEqual(args('create: {doc: "1"} update: {doc: {set: "2"}, docs: {push: ["3"]}}'), {
    create: { doc: json('1') },
    update: { doc: { set: json('2') }, docs: { push: [json('3')] } },
  });
  assert.deepEqual(args('data: [{doc: "1"}, {doc: "2"}]').data, [{ doc: json('1') }, { doc: json('2') }]);
});

test('documents in filters are tagged, paths and parts of strings are not', () => {
  assert.deepEqual(args('where: {AND: [{NOT: {doc: {path: ["1"], equals: "1", string_contains: "1", mode: "1"}}}]}'), {
    where: { AND: [{ NOT: { doc: { path: ['1'], equals: json('1'), string_contains: '1', mode: '1' } } }] },
  });
  assert.deepEqual(args('where: {doc: {not: {array_contains: "[1]"}}, docs: {hasSome: ["1"]}}').where, {
    doc: { not: { array_contains: json('[1]') } },
    docs: { hasSome: [json('1')] },
  });
});

test('documents behind relations are tagged', () => {
  assert.deepEqual(args('where: {posts: {some: {meta: {equals: "1"}, user: {is: {doc: "2"}}}}}').where, {
    posts: { some: { meta: { equals: json('1') }, user: { is: { doc: json('2') } } } },
  });
  assert.deepEqual(
    args(`data: {posts: {create: [{meta: "1"}], createMany: {data: [{meta: "2"}]},
      connectOrCreate: {where: {id: 1}, create: {meta: "3"}}, connect: {id: 1},
      update: [{where: {meta: {equals: "4"}}, data: {meta: "5"}}],
      upsert: [{where: {id: 1}, create: {meta: "6"}, update: {meta: "7"}}],
      updateMany: {where: {}, data: {meta: "8"}}, deleteMany: [{meta: {equals: "9"}}]}}`).data.posts,
    {
      create: [{ meta: json('1') }],
      createMany: { data: [{ meta: json('2') }] },
      connectOrCreate: { where: { id: 1 }, create: { meta: json('3') } },
      connect: { id: 1 },
      update: [{ where: { meta: { equals: json('4') } }, data: { meta: json('5') } }],
      upsert: [{ where: { id: 1 }, create: { meta: json('6') }, update: { meta: json('7') } }],
      updateMany: { where: {}, data: { meta: json('8') } },
      deleteMany: [{ meta: { equals: json('9') } }],
    },
  );
  const included = parsed('query { result: findManyUser { posts(where: {meta: {equals: "1"}}) { id } } }');
  assert.deepEqual(included.query.selection.posts.arguments, { where: { meta: { equals: json('1') } } });
});

test('fields that are named like a wrapper are fields', () => {
  assert.deepEqual(args('data: {profile: {update: {data: "1"}}}').data, {
    profile: { update: { data: json('1') } },
  });
  assert.deepEqual(args('data: {pet: {update: {note: "1"}}}').data, { pet: { update: { note: json('1') } } });
  assert.deepEqual(args('data: {pet: {update: {where: {id: 1}, data: {note: "1"}}}}').data, {
    pet: { update: { where: { id: 1 }, data: { note: json('1') } } },
  });
  assert.deepEqual(args('where: {pet: {is: {equals: "1"}}}').where, { pet: { is: { equals: json('1') } } });
});

test('the names of the nulls are enums where a document stands', () => {
  assert.deepEqual(args('data: {doc: "DbNull", name: "DbNull"}').data, {
    doc: { $type: 'Enum', value: 'DbNull' },
    name: 'DbNull',
  });
  assert.deepEqual(args(String.raw`data: {doc: "\"DbNull\""}`).data.doc, json('"DbNull"'));
});

test('raw queries always have parameters, since the engine breaks without', () => {
  assert.deepEqual(parsed('mutation { result: queryRaw (query: "SELECT 1") }').query.arguments, {
    query: 'SELECT 1',
    parameters: '[]',
  });
  assert.equal(parsed('mutation { result: queryRaw (query: "x", parameters: "[1]") }').query.arguments.parameters, '[1]');
});

test('answers get the alias and plain values', () => {
  const translated = { json: '', operation: 'findManyUser', alias: 'result' };
  assert.equal(
    translateAnswer('{"data":{"findManyUser":[{"id":1.0,"at":{"$type":"DateTime","value":"2024"}}]}}', translated),
    '{"data":{"result":[{"id":1.0,"at":"2024"}]}}',
  );
});

test('raw rows are never untagged', () => {
  const rows = '{"columns":["a"],"types":["json"],"rows":[[{"$type":"Json","value":"1"}]]}';
  assert.equal(
    translateAnswer(`{"data":{"queryRaw":${rows}}}`, { json: '', operation: 'queryRaw', alias: 'result' }),
    '{"data":{"result":[{"a":{"prisma__type":"json","prisma__value":{"$type":"Json","value":"1"}}}]}}',
  );
});

test('tags are taken off exactly', () => {
  const text = String.raw`say "{\"$type\":\"Json\",\"value\":\"1\"}" \\" \\`;
  const value = JSON.stringify(text);
  assert.equal(untag(`{"a":{"$type":"Json","value":${value}},"b":${value}}`), `{"a":${value},"b":${value}}`);
  assert.equal(untag('[{"$type":"BigInt","value":"1"},{"$type":"Bytes","value":""}]'), '["1",""]');
  assert.equal(untag('null'), 'null');
  const large = JSON.stringify('\\"'.repeat(1_000_000));
  assert.equal(untag(`{"$type":"Json","value":${large}}`), large);
});
