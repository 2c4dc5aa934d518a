"""A client of the Routes API on grpcio: each message is a line of JSON.

client.py ADDRESS METHOD REQUEST
"""

import hashlib
import json
import pathlib
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

# Of the published routes.proto as a descriptor, without options and names in JSON: the schema beside is that one.
PUBLISHED = "1ce8b8c610c8ee361811c82c9540806653e4c659a50d65727dc28f7a86e40a2b"


def main(address, name, text):
    schema = pathlib.Path(__file__).with_name("routes.json").read_text()
    file = json_format.Parse(schema, descriptor_pb2.FileDescriptorProto())
    digest = hashlib.sha256(file.SerializeToString(deterministic=True)).hexdigest()
    assert digest == PUBLISHED, f"the schema is not the published one: {digest}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    method = pool.FindServiceByName("routes.Routes").FindMethodByName(name)
    request = message_factory.GetMessageClass(method.input_type)
    answer = message_factory.GetMessageClass(method.output_type)
    with grpc.insecure_channel(address) as channel:
        kind = channel.unary_stream if method.server_streaming else channel.unary_unary
        call = kind(f"/routes.Routes/{name}", request.SerializeToString, answer.FromString)
        answers = call(json_format.Parse(text, request()))
        for message in answers if method.server_streaming else [answers]:
            print(json.dumps(json_format.MessageToDict(message)), flush=True)


try:
    main(*sys.argv[1:])
except grpc.RpcError as error:
    code = "".join(word.capitalize() for word in error.code().name.split("_"))
    print(json.dumps({"code": code, "message": error.details()}))
    sys.exit(1)
