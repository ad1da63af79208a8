"""An independent client: what projects do with their buckets, told in lines that a test compares."""
import sys
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


class Bucket:
    def __init__(self, project, path=None):
        path = path or f"/home/{project}/.env"
        lines = (line.rstrip("\n").split("=", 1) for line in open(path) if line.startswith("S3_"))
        self.of = dict(lines)
        self.name = self.of["S3_BUCKET"]
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.of["S3_ENDPOINT"],
            region_name=self.of["S3_REGION"],
            aws_access_key_id=self.of["S3_ACCESS_KEY"],
            aws_secret_access_key=self.of["S3_SECRET_KEY"],
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def keys(self):
        return [o["Key"] for o in self.s3.list_objects_v2(Bucket=self.name).get("Contents", [])]


def code(call, **args):
    try:
        call(**args)
        return "done"
    except ClientError as e:
        return e.response["Error"]["Code"]


def fetch(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return f"{answer.status} {answer.read()[:40]!r}"
    except urllib.error.HTTPError as e:
        return str(e.code)


def use(project):
    """Puts, gets, lists, hands out, sends in parts, deletes."""
    b = Bucket(project)
    s3, name = b.s3, b.name
    s3.put_object(Bucket=name, Key="hello.txt", Body=b"hello " + project.encode(), ContentType="text/plain")
    print("get", s3.get_object(Bucket=name, Key="hello.txt")["Body"].read().decode())
    s3.put_object(Bucket=name, Key="a b/\u00fc?#%2e.txt", Body=b"odd")
    print("list", b.keys())
    link = s3.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "hello.txt"}, ExpiresIn=60)
    print("link", fetch(link))
    print("bent link", fetch(link.replace("hello.txt", "other.txt")))
    upload = s3.create_multipart_upload(Bucket=name, Key="big")["UploadId"]
    parts = []
    for n in (1, 2):
        body = bytes([n]) * (5 << 20)
        tag = s3.upload_part(Bucket=name, Key="big", PartNumber=n, UploadId=upload, Body=body)["ETag"]
        parts.append({"PartNumber": n, "ETag": tag})
    s3.complete_multipart_upload(Bucket=name, Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
    print("parts", s3.head_object(Bucket=name, Key="big")["ContentLength"])
    s3.delete_object(Bucket=name, Key="a b/\u00fc?#%2e.txt")
    print("left", b.keys())


def trespass(project, other):
    """All that a project could do to another's bucket, with its own key."""
    b, theirs = Bucket(project), Bucket(other).name
    s3 = b.s3
    source = {"Bucket": theirs, "Key": "hello.txt"}
    for what, call, args in [
        ("list", s3.list_objects_v2, dict(Bucket=theirs)),
        ("head", s3.head_bucket, dict(Bucket=theirs)),
        ("get", s3.get_object, dict(Bucket=theirs, Key="hello.txt")),
        ("put", s3.put_object, dict(Bucket=theirs, Key="hello.txt", Body=b"mine now")),
        ("copy out", s3.copy_object, dict(Bucket=b.name, Key="stolen", CopySource=source)),
        ("delete", s3.delete_object, dict(Bucket=theirs, Key="hello.txt")),
        ("upload", s3.create_multipart_upload, dict(Bucket=theirs, Key="x")),
        ("delete bucket", s3.delete_bucket, dict(Bucket=theirs)),
        ("delete own bucket", s3.delete_bucket, dict(Bucket=b.name)),
        ("make bucket", s3.create_bucket, dict(Bucket="hostkit-more")),
        ("website", s3.put_bucket_website, dict(Bucket=b.name, WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}})),
    ]:
        print(what, code(call, **args))
    print("buckets", [found["Name"] for found in s3.list_buckets()["Buckets"]])
    # A name that is a way out of the bucket, were it a path.
    s3.put_object(Bucket=b.name, Key=f"../{theirs}/evil", Body=b"x")
    print("theirs", Bucket(other).keys())


def keys(project):
    print(Bucket(project).keys())


def put(project, count, size):
    b = Bucket(project)
    for n in range(int(count)):
        b.s3.put_object(Bucket=b.name, Key=f"object-{n:04}", Body=b"x" * int(size))


def write(project, key, text):
    b = Bucket(project)
    b.s3.put_object(Bucket=b.name, Key=key, Body=text.encode())


def read(project, key):
    b = Bucket(project)
    print(b.s3.get_object(Bucket=b.name, Key=key)["Body"].read().decode())


def remove(project, key):
    b = Bucket(project)
    b.s3.delete_object(Bucket=b.name, Key=key)


def opens(path):
    """Whether the key of some older environment still opens its bucket."""
    b = Bucket("", path)
    print(code(b.s3.list_objects_v2, Bucket=b.name))


globals()[sys.argv[1]](*sys.argv[2:])
