/**
 * Makes a bucket and a container in the services whose place the environment says, as
 * scripts/start-radosgw.sh and scripts/start-azurite.sh write it down:
 *
 *   bin/node object-tests/make-bucket.ts NAME
 */
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { BlobServiceClient } from "@azure/storage-blob";
import { startedAzure, startedS3 } from "./services.testing.ts";

const name = process.argv[2];
if (name === undefined) throw new Error("name the bucket");
const s3 = startedS3();
if (s3 !== undefined) {
  const credentials = { accessKeyId: s3.accessKey, secretAccessKey: s3.secretKey };
  const { endpoint } = s3;
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
  await client.send(new CreateBucketCommand({ Bucket: name }));
}
const azure = startedAzure();
if (azure !== undefined) {
  await BlobServiceClient.fromConnectionString(azure).createContainer(name);
}
