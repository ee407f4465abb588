"""Reads a copy of a lake with Spark, by docs/lake.md, and by tables as the Glue Data Catalog has them.

Called with a folder that has the copy, `lake/`, and statements.json; leaves what it found in rows.json.
"""

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession

folder = Path(sys.argv[1])
LAKE = str(folder / "lake")
given = json.loads((folder / "statements.json").read_text())
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
    .config("spark.hadoop.javax.jdo.option.ConnectionURL", "jdbc:derby:memory:lake;create=true")
    # Hive reads by the tables' own formats, and folders of folders, as Athena does.
    .config("spark.sql.hive.convertMetastoreParquet", "false")
    .config("spark.hadoop.mapreduce.input.fileinputformat.input.dir.recursive", "true")
    .enableHiveSupport()
    .getOrCreate()
)


def rows(statement: str) -> list[dict]:
    return [row.asDict() for row in spark.sql(statement).collect()]


exec(given["page"])  # noqa: S102 -- the page's own lines, which are what is tried
spark.sql(given["view"].replace("CREATE OR REPLACE VIEW", "CREATE OR REPLACE TEMPORARY VIEW"))
by_paths = rows(given["query"])

spark.catalog.dropTempView("songs")
for statement in given["create"]:
    spark.sql(statement)
found = {
    "by_paths": by_paths,
    "by_tables": rows(given["query"]),
    # Not the listens' times: Spark's Hive 2.3 is older than Parquet's timestamps of microseconds.
    "listens": rows(given["counts"]),
    "users": rows("SELECT count(*) AS n FROM default.users"),
}
(folder / "rows.json").write_text(json.dumps(found))
