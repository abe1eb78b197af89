"""The methods of API keys and admin tokens: unpack, call, pack."""

from __future__ import annotations

from typing import Any

import grpc.aio

from admin.credentials import Credentials
from admin.handler import keys_pack, keys_unpack
from admin.resources.shared import Listing
from usageflow.domain.credentials import CredentialKind
from usageflow.storage.credentials import CredentialSet
from usageflow.v1 import keys_pb2

_Context = grpc.aio.ServicerContext[Any, Any]
_TOKENS = CredentialSet(CredentialKind.ADMIN_TOKEN)


class KeyMethods:
    """The methods of API keys."""

    _credentials: Credentials

    async def CreateApiKey(  # noqa: N802 - gRPC's spelling
        self, request: keys_pb2.CreateApiKeyRequest, context: _Context
    ) -> keys_pb2.IssuedApiKey:
        """See the contract."""
        where = await self._credentials.keys_of(request.application)
        call = keys_unpack.call(request, context)
        issued = await self._credentials.create(where, keys_unpack.key_spec(request.api_key), call)
        return keys_pack.issued_key(issued, self._credentials.now_us())

    async def GetApiKey(  # noqa: N802
        self, request: keys_pb2.GetApiKeyRequest, context: _Context
    ) -> keys_pb2.ApiKey:
        """See the contract."""
        where = await self._credentials.keys_of(request.application)
        return keys_pack.key(await self._credentials.get(where, request.name), self._credentials.now_us())

    async def ListApiKeys(  # noqa: N802
        self, request: keys_pb2.ListApiKeysRequest, context: _Context
    ) -> keys_pb2.ListApiKeysResponse:
        """See the contract."""
        where = await self._credentials.keys_of(request.application)
        listed, token = await self._credentials.list(where, _listing(request))
        now_us = self._credentials.now_us()
        return keys_pb2.ListApiKeysResponse(
            api_keys=[keys_pack.key(item, now_us) for item in listed],
            next_page_token=token,
        )

    async def UpdateApiKey(  # noqa: N802
        self, request: keys_pb2.UpdateApiKeyRequest, context: _Context
    ) -> keys_pb2.ApiKey:
        """See the contract."""
        where = await self._credentials.keys_of(request.application)
        call = keys_unpack.call(request, context)
        fields = keys_unpack.key_changes(request)
        changed = await self._credentials.update(where, request.api_key.name, fields, call)
        return keys_pack.key(changed, self._credentials.now_us())

    async def RotateApiKey(  # noqa: N802
        self, request: keys_pb2.RotateApiKeyRequest, context: _Context
    ) -> keys_pb2.IssuedApiKey:
        """See the contract."""
        where = await self._credentials.keys_of(request.application)
        call = keys_unpack.call(request, context)
        issued = await self._credentials.rotate(where, request.name, keys_unpack.rotation(request), call)
        return keys_pack.issued_key(issued, self._credentials.now_us())

    async def RevokeApiKey(  # noqa: N802
        self, request: keys_pb2.RevokeApiKeyRequest, context: _Context
    ) -> keys_pb2.ApiKey:
        """See the contract."""
        where = await self._credentials.keys_of(request.application)
        call = keys_unpack.call(request, context)
        revoked = await self._credentials.revoke(where, request.name, call)
        return keys_pack.key(revoked, self._credentials.now_us())


class TokenMethods:
    """The methods of admin tokens."""

    _credentials: Credentials

    async def CreateAdminToken(  # noqa: N802
        self, request: keys_pb2.CreateAdminTokenRequest, context: _Context
    ) -> keys_pb2.IssuedAdminToken:
        """See the contract."""
        call = keys_unpack.call(request, context)
        issued = await self._credentials.create(_TOKENS, keys_unpack.token_spec(request.admin_token), call)
        return keys_pack.issued_token(issued, self._credentials.now_us())

    async def GetAdminToken(  # noqa: N802
        self, request: keys_pb2.GetAdminTokenRequest, context: _Context
    ) -> keys_pb2.AdminToken:
        """See the contract."""
        found = await self._credentials.get(_TOKENS, request.name)
        return keys_pack.token(found, self._credentials.now_us())

    async def ListAdminTokens(  # noqa: N802
        self, request: keys_pb2.ListAdminTokensRequest, context: _Context
    ) -> keys_pb2.ListAdminTokensResponse:
        """See the contract."""
        listed, token = await self._credentials.list(_TOKENS, _listing(request))
        now_us = self._credentials.now_us()
        return keys_pb2.ListAdminTokensResponse(
            admin_tokens=[keys_pack.token(item, now_us) for item in listed],
            next_page_token=token,
        )

    async def UpdateAdminToken(  # noqa: N802
        self, request: keys_pb2.UpdateAdminTokenRequest, context: _Context
    ) -> keys_pb2.AdminToken:
        """See the contract."""
        call = keys_unpack.call(request, context)
        fields = keys_unpack.token_changes(request)
        changed = await self._credentials.update(_TOKENS, request.admin_token.name, fields, call)
        return keys_pack.token(changed, self._credentials.now_us())

    async def RotateAdminToken(  # noqa: N802
        self, request: keys_pb2.RotateAdminTokenRequest, context: _Context
    ) -> keys_pb2.IssuedAdminToken:
        """See the contract."""
        call = keys_unpack.call(request, context)
        issued = await self._credentials.rotate(_TOKENS, request.name, keys_unpack.rotation(request), call)
        return keys_pack.issued_token(issued, self._credentials.now_us())

    async def RevokeAdminToken(  # noqa: N802
        self, request: keys_pb2.RevokeAdminTokenRequest, context: _Context
    ) -> keys_pb2.AdminToken:
        """See the contract."""
        call = keys_unpack.call(request, context)
        revoked = await self._credentials.revoke(_TOKENS, request.name, call)
        return keys_pack.token(revoked, self._credentials.now_us())


def _listing(request: keys_pb2.ListApiKeysRequest | keys_pb2.ListAdminTokensRequest) -> Listing:
    return Listing(
        request.page_size, request.page_token, request.filter, request.order_by, request.show_deleted
    )
