import type { ObjectStore, StoredObject } from '@music/storage';

/** Removes an object, and its versions where the bucket keeps them. */
export async function removeForGood(store: ObjectStore, object: StoredObject): Promise<void> {
  await store.deleteIfUnchanged(object);
  await removeOldVersions(store, object);
}

/** Removes the versions of a key for good that are no longer the current one. */
export async function removeOldVersions(store: ObjectStore, { bucket, key }: StoredObject): Promise<void> {
  for await (const old of store.listOldVersions(bucket, key)) if (old.key === key) await store.deleteVersion(old);
}
