# SPDX-License-Identifier: MIT
"""The GraphQL side: the part of the registry's schema that a client of packages needs."""

import json

from graphql import build_ast_schema, graphql, parse

SDL = """
schema { query: Query }

enum WebcVersion { V2 V3 }

type PackageDistribution {
  piritaDownloadUrl: String
  piritaSha256Hash: String
  webcManifest: String
}

type PackageVersion {
  version: String!
  isArchived: Boolean!
  distribution(version: WebcVersion): PackageDistribution!
}

type Package {
  packageName: String!
  namespace: String
  versions: [PackageVersion]
}

type PackageWebc {
  piritaManifest: String
  isArchived: Boolean!
  webcUrl: String
}

type RegistryInfo {
  defaultFrontend: String!
}

type Query {
  getPackage(name: String!): Package
  getPackageRelease(hash: String!): PackageWebc
  info: RegistryInfo
}
"""

BAD_MANIFEST = '{"package": not json'


class Context:
    """What one request is answered from."""

    def __init__(self, store, base, fault):
        self.store = store
        self.base = base  # "http://127.0.0.1:8080", for the URLs of files
        self.fault = fault
        self.file_base = None  # set when a fault needs the files to come from elsewhere

    def faulty(self, kind, container=None):
        fault = self.fault
        if fault is None or fault.kind != kind:
            return False
        return container is None or not fault.version or fault.version == container.version

    def url(self, container):
        if self.faulty("url", container):
            return self.fault.location
        return (self.file_base or self.base) + container.url_path


def get_package(_, info, name):
    context = info.context
    versions = context.store.versions(name)
    if versions is None or context.faulty("null_package"):
        return None
    namespace, slash, own = name.rpartition("/")
    everything = context.faulty("archived")
    return {
        "packageName": own,
        "namespace": namespace if slash else "_",
        "versions": [
            {"version": version, "isArchived": archived or everything, "slots": slots}
            for version, archived, slots in versions
        ],
    }


def get_distribution(parent, info, version=None):
    context = info.context
    container = parent["slots"].get(version or "V3")
    if container is None or context.faulty("null_fields", container):
        return {}
    digest = container.announced
    if context.faulty("wrong_hash", container):
        digest = ("0" if digest[0] != "0" else "1") + digest[1:]
    return {
        "piritaDownloadUrl": context.url(container),
        "piritaSha256Hash": digest,
        "webcManifest": BAD_MANIFEST if context.faulty("bad_manifest", container) else container.manifest,
    }


def get_release(_, info, hash):  # pylint: disable=redefined-builtin
    context = info.context
    container = context.store.by_hash(hash)
    if container is None or context.faulty("null_package"):
        return None
    return {
        "piritaManifest": BAD_MANIFEST if context.faulty("bad_manifest", container) else container.manifest,
        "isArchived": context.store.is_archived(container) or context.faulty("archived"),
        "webcUrl": context.url(container),
    }


def build():
    schema = build_ast_schema(parse(SDL))
    schema.get_query_type().fields["getPackage"].resolver = get_package
    schema.get_query_type().fields["getPackageRelease"].resolver = get_release
    schema.get_query_type().fields["info"].resolver = lambda _, info: {"defaultFrontend": info.context.base}
    schema.get_type("PackageVersion").fields["distribution"].resolver = get_distribution
    return schema


SCHEMA = build()


def search_text(body):
    """What a fault's aim is compared with: the query and its variables; empty when the body is no GraphQL request."""
    try:
        request = json.loads(body)
        return f"{request.get('query')} {list((request.get('variables') or {}).values())}"
    except (ValueError, AttributeError):
        return ""


def answer(context, body):
    """(status, JSON text) for the body of a POST."""
    try:
        request = json.loads(body)
        query, variables = request["query"], request.get("variables") or {}
        operation = request.get("operationName")
    except (ValueError, KeyError, TypeError, AttributeError):
        return 400, json.dumps({"errors": [{"message": "Must provide query string."}]})
    result = graphql(SCHEMA, query, context=context, variables=variables, operation_name=operation)
    reply = result.to_dict()
    if context.faulty("graphql_errors"):
        reply = {"errors": [{"message": context.fault.body or "the registry is tired"}], "data": None}
    elif context.faulty("graphql_partial") and result.data:
        reply = {"errors": [{"message": context.fault.body or "the registry is tired", "path": ["info"]}],
                 "data": {**result.data, "info": None}}  # fmt: skip
    elif context.faulty("unknown_fields") and result.data:
        reply = {"surprise": {"a": [1, None]}, "data": with_surprises(result.data), "extensions": {"cost": 1}}
    return (400 if result.invalid else 200), json.dumps(reply)


def with_surprises(value):
    if isinstance(value, dict):
        return {"surprise": [{}, 1.5], **{name: with_surprises(inner) for name, inner in value.items()}}
    if isinstance(value, list):
        return [with_surprises(inner) for inner in value]
    return value
