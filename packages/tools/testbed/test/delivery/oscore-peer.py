"""A CoAP server and a client that speak OSCORE with aiocoap, on contexts of `format: oscore`.

aiocoap's own transport for OSCORE needs lakers, which Debian does not package. The exchange around
protect() and unprotect() therefore stands here. Security contexts, keys, nonces and replay windows
are aiocoap's.

    oscore-peer.py serve FOLDER PORT     all contexts in FOLDER; SIGHUP reads it again
    oscore-peer.py get CONTEXT URI       prints the answer; exit code 1 if there is none
"""

import asyncio
import signal
import sys
from pathlib import Path

from aiocoap import GET, CONTENT, UNAUTHORIZED, Context, Message, error, oscore, resource


class ProtectedResource(resource.Resource):
    def __init__(self, folder):
        super().__init__()
        self._folder = folder
        self._contexts = {}

    def read_contexts(self):
        usable = {path.parent for path in self._folder.glob("*-*/secret.json")}
        for path in self._contexts.keys() - usable:
            del self._contexts[path]
        # aiocoap keeps sequence number and replay window in the folder: a context is opened once.
        for path in usable - self._contexts.keys():
            self._contexts[path] = oscore.FilesystemSecurityContext(str(path))
        print("contexts:", len(self._contexts), flush=True)

    async def needs_blockwise_assembly(self, request):
        return False

    async def render(self, request):
        try:
            header = oscore.verify_start(request)
        except oscore.NotAProtectedMessage:
            raise error.Unauthorized()
        for context in self._contexts.values():
            if context.get_oscore_context_for(header) is not None:
                _, request_id = context.unprotect(request)
                answer = Message(code=CONTENT, payload=b"served by aiocoap")
                return context.protect(answer, request_id)[0]
        raise error.Unauthorized("no security context")


async def serve(folder, port):
    site = ProtectedResource(folder)
    site.read_contexts()
    await Context.create_server_context(site, bind=("127.0.0.1", port), transports=["udp6"])
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, site.read_contexts)
    print("listens", flush=True)
    await asyncio.get_running_loop().create_future()


async def get(folder, uri):
    security = oscore.FilesystemSecurityContext(str(folder))
    client = await Context.create_client_context(transports=["udp6"])
    echo = None
    # A server that has just started asks for a fresh request (RFC 8613, appendix B.1.2).
    for _ in range(2):
        protected, request_id = security.protect(Message(code=GET, uri=uri, echo=echo))
        protected.set_request_uri(uri)
        answer, _ = security.unprotect(await client.request(protected).response, request_id)
        if answer.code != UNAUTHORIZED or answer.opt.echo is None:
            break
        echo = answer.opt.echo
    print(answer.code, answer.payload.decode(), flush=True)


command, folder, where = sys.argv[1:]
try:
    if command == "serve":
        asyncio.run(serve(Path(folder), int(where)))
    else:
        asyncio.run(asyncio.wait_for(get(Path(folder), where), 60))
except Exception as failure:
    sys.exit(f"no answer: {failure!r}")
