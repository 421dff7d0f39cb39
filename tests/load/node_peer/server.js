// A baseline: the same mutation as Node's fastest well-known GraphQL server does it, with just-in-time
// compiled queries. It has no API keys, no validation beyond GraphQL's types: all of that is in its favour.

import { Firestore } from "@google-cloud/firestore";
import fastify from "fastify";
import mercurius from "mercurius";

const MAX_BODY_BYTES = 64 * 1024 * 1024;

const database = new Firestore();
const samples = database.collection("samples");

const schema = `
  input SampleInput { timeStamp: String!  data: [Float!]! }
  type Receipt { id: ID!  state: String! }
  type Query { ready: Boolean! }
  type Mutation {
    submit(sample: SampleInput!): Receipt!
    check(sample: SampleInput!): Int!
  }
`;

const resolvers = {
  Query: { ready: () => true },
  Mutation: {
    submit: async (_, { sample }) => {
      const reference = await samples.add({ time_stamp: sample.timeStamp, data: sample.data });
      return { id: reference.id, state: "PENDING" };
    },
    // Stores nothing: a large sample is more than a document may hold.
    check: (_, { sample }) => sample.data.length,
  },
};

const app = fastify({ bodyLimit: MAX_BODY_BYTES });
app.register(mercurius, { schema, resolvers, jit: 1 });
await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
