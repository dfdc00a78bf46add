import type { FastifyReply } from 'fastify';

/** As octets: to a text fastify would add a charset, which JSON does not have. */
export function sendJson(reply: FastifyReply, type: string, body: Buffer): FastifyReply {
  return reply.type(type).send(body);
}

export function sendObject(reply: FastifyReply, value: object): FastifyReply {
  return sendJson(reply, 'application/json', Buffer.from(JSON.stringify(value)));
}
