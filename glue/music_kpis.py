"""The KPI job on Spark: an AWS Glue 5.0 job (Spark 3.5, Python 3.11), and as well any other spark-submit.

It runs the models of glue/sql/ as they stand. Arguments, in Glue's convention; others are ignored:

  --RUN_ID             the run whose listens are told from those of others
  --S3_SOURCE_PATH     JSON: {"dates": ["YYYY-MM-DD", …], "songs": [path, …], "users": [path, …], "left_out": {run: [file, …] or "all"}}:
                       the days to compute, ascending; Parquet objects; the deliveries whose listens do not count, if any
  --S3_LAKE_PATH       the lake bucket; listens are below listens/date=D/run=R/, as they were delivered
  --S3_RESULT_PATH     folder for the result: date=D.json for each affected day, at the end summary.json
  --SQL_PATH           folder of the models
  --KPI_VERSION        not read here: it tells this job from one of an earlier turn to write the lake
  --KEEP_UNKNOWN_TRACKS  true: listens of tracks that songs does not have count as genre Unknown; false: they do not

It writes nothing but its result. Running it again for the same run replaces that. It ends with an error, and without a summary, where
anything of it did not succeed.
"""

import argparse
import functools
import hashlib
import itertools
import json
import operator
import re
import time
from concurrent.futures import ThreadPoolExecutor

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

# What makes Spark agree with DuckDB; nothing else is bridged.
SESSION = {
    "spark.sql.session.timeZone": "UTC",
    # An overflow is an error, as in DuckDB, and not a wrong number.
    "spark.sql.ansi.enabled": "true",
    # Dates before 1582 are the same days to both: no switch to the Julian calendar.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    # Text is compared by its bytes; DuckDB writes instants without a zone, and so does this job.
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
}
LISTENS = "user_id STRING, track_id STRING, listened_at TIMESTAMP_NTZ, listen_date DATE"
# With the delivery a row came in: the number of the file in its run's manifest, and, where runs were merged, the run.
DELIVERED = LISTENS + ", file INT, delivered_by STRING"
SONGS = "track_id STRING, track_name STRING, artists STRING, track_genre STRING, duration_ms BIGINT, popularity BIGINT"
USERS = "user_id STRING"
# What folders of merged runs begin with.
MERGED = "compacted__"
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
# What the checks of a day without listens look at.
NO_LISTENS = dict.fromkeys(
    ("listens", "unknown_track_listens", "unknown_user_listens", "most_listens_of_a_track", "most_listens_of_a_listener"), 0
)
MAX_EXACT = 2**53 - 1  # what JSON readers keep exactly


def main(argv: list[str] | None = None) -> None:
    began = time.monotonic()
    arguments = parse(argv)
    spark = SparkSession.builder.appName(f"music-kpis {arguments.RUN_ID}").getOrCreate()
    for name, value in SESSION.items():
        spark.conf.set(name, value)
    try:
        KpiJob(spark, arguments).run(began)
    finally:
        spark.stop()


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("RUN_ID", "S3_SOURCE_PATH", "S3_LAKE_PATH", "S3_RESULT_PATH", "SQL_PATH"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--KEEP_UNKNOWN_TRACKS", choices=("true", "false"), default="true")
    arguments, _ = parser.parse_known_args(argv)
    if not RUN_ID.fullmatch(arguments.RUN_ID):
        parser.error(f"--RUN_ID {arguments.RUN_ID!r} is no run id")
    return arguments


class KpiJob:
    def __init__(self, spark: SparkSession, arguments: argparse.Namespace) -> None:
        self.spark = spark
        self.run_id = arguments.RUN_ID
        self.files = Files(spark)
        self.source = json.loads(self.files.read(arguments.S3_SOURCE_PATH))
        self.left_out = self.source.get("left_out", {})
        self.lake = arguments.S3_LAKE_PATH.rstrip("/")
        self.result = arguments.S3_RESULT_PATH.rstrip("/")
        self.sql_path = arguments.SQL_PATH.rstrip("/")
        self.keep_unknown_tracks = arguments.KEEP_UNKNOWN_TRACKS.upper()

    def run(self, began: float) -> None:
        dates = self.source["dates"]
        self.view("songs", self.parquet(SONGS, self.source["songs"]))
        self.view("users", self.parquet(USERS, self.source["users"]))
        own = self.standing(self.lake_folders(dates, own=True)).withColumn("of_run", F.lit(1))
        lake = self.standing(self.lake_folders(dates, own=False)).withColumn("of_run", F.lit(0))
        self.view("listens", own.unionByName(lake))
        # Spark parts and spills by itself, so all listens are one bucket.
        self.keep("tracks", "listeners")
        self.keep("catalogue", "distinct_listens")
        self.keep("track_day", "genre_bitmaps", "listener_day")
        for name in ("genre_listeners", "day_listeners"):
            self.view(name, self.model(name))
        self.keep("track_genre_day")
        self.keep("genre_day")
        with ThreadPoolExecutor(1) as pool:
            report = pool.submit(self.report)
            self.write_days(dates)
            self.write_summary(dates, report.result(), began)

    def write_days(self, dates: list[str]) -> None:
        """One JSON object a day. Its rows are few: some for each genre."""
        days = ByDay(self.model("day"), "listen_count")
        genres = ByDay(self.spark.table("genre_day"), "genre")
        top_songs = ByDay(self.model("top_songs"), "genre", "rank")
        top_genres = ByDay(self.model("top_genres"), "rank")
        quality = ByDay(self.model("quality"), "listens")
        for date in dates:
            day = next(iter(days.of(date)), {"listen_count": 0, "unique_listeners": 0})
            self.files.write(
                f"{self.result}/date={date}.json",
                {
                    "date": date,
                    **day,
                    "genres": genres.of(date),
                    "top_songs": top_songs.of(date),
                    "top_genres": top_genres.of(date),
                    "quality": next(iter(quality.of(date)), NO_LISTENS),
                },
            )

    def report(self) -> dict:
        """What the whole run came to."""
        song_rows, durations = self.spark.sql("SELECT COUNT(*), COUNT(duration_ms) FROM songs").first()
        return {
            **self.model("run_report").first().asDict(),
            "unreadable_durations": song_rows - durations,
            "song_rows": song_rows,
        }

    def write_summary(self, dates: list[str], report: dict, began: float) -> None:
        """That it is there tells that all days are."""
        self.files.write(
            f"{self.result}/summary.json",
            {
                "dates": dates,
                **report,
                "left_out_runs": len(self.left_out),
                "sql_version": self.sql_version(),
                "seconds": round(time.monotonic() - began, 3),
                "spark": self.spark.version,
            },
        )

    def sql_version(self) -> str:
        """Names the models by their content, as the service does for its own."""
        names = sorted(name for name in self.files.names(self.sql_path) if name.endswith(".sql"))
        texts = (f"{name}\0{self.text(name)}\0" for name in names)
        return hashlib.sha256("".join(texts).encode()).hexdigest()[:12]

    def lake_folders(self, dates: list[str], own: bool) -> list[str]:
        """The lake's folders of these days: those of this run, or those of others."""
        mine = f"run={self.run_id}"
        return [
            folder
            for date in dates
            for folder in self.files.folders(f"{self.lake}/listens/date={date}")
            if folder.endswith(f"/{mine}") == own
        ]

    def standing(self, folders: list[str]) -> DataFrame:
        """The rows of these folders, without those of deliveries that do not stand."""
        whole: list[str] = []
        parts: dict[str, list[str]] = {}
        for folder in folders:
            run = folder.rsplit("/run=", 1)[1]
            if self.left_out and run.startswith(MERGED):
                parts.setdefault(MERGED, []).append(folder)
            elif run in self.left_out:
                parts.setdefault(run, []).append(folder)
            else:
                whole.append(folder)
        # Without a delivery a row stands.
        rows = (
            self.parquet(DELIVERED, paths).where(~F.coalesce(self.left(run), F.lit(False))).drop("file", "delivered_by")
            for run, paths in parts.items()
        )
        return functools.reduce(DataFrame.unionByName, rows, self.parquet(LISTENS, whole))

    def left(self, run: str) -> Column:
        """Whether a row in a folder of this run, or of merged ones, came in a delivery that does not stand."""
        if run != MERGED:
            files = self.left_out[run]
            return F.lit(True) if files == "all" else F.col("file").isin(files)
        of_runs = (
            (F.col("delivered_by") == by) & (F.lit(True) if files == "all" else F.col("file").isin(files))
            for by, files in self.left_out.items()
        )
        return functools.reduce(operator.or_, of_runs)

    @functools.cache
    def text(self, file: str) -> str:
        return self.files.read(f"{self.sql_path}/{file}")

    def model(self, name: str) -> DataFrame:
        return self.spark.sql(self.text(f"{name}.sql").replace("${keep_unknown_tracks}", self.keep_unknown_tracks))

    def parquet(self, schema: str, paths: list[str]) -> DataFrame:
        if not paths:
            return self.spark.createDataFrame([], schema)
        return self.spark.read.schema(schema).parquet(*paths)

    def keep(self, *names: str) -> None:
        """
        Models that others read: computed once, and kept where the loss of an executor does not matter. Side by side,
        since a model that is planned, ends a stage or waits for S3 leaves cores idle.
        """
        with ThreadPoolExecutor(len(names)) as pool:
            for name, kept in zip(names, pool.map(self.kept, names)):
                self.view(name, kept)

    def kept(self, name: str) -> DataFrame:
        path = f"{self.result}/tables/{name}"
        rows = self.model(name)
        rows.write.mode("overwrite").parquet(path)
        return self.spark.read.schema(rows.schema).parquet(path)

    def view(self, name: str, rows: DataFrame) -> None:
        rows.createOrReplaceTempView(name)


class ByDay:
    """The rows of a model day by day, without all of them in the driver's memory at once. Ask in ascending order."""

    def __init__(self, rows: DataFrame, *order: str) -> None:
        ordered = rows.withColumn("listen_date", F.col("listen_date").cast("string")).orderBy("listen_date", *order)
        self.groups = itertools.groupby((row.asDict() for row in ordered.toLocalIterator()), key=lambda row: row.pop("listen_date"))
        self.ahead = next(self.groups, None)

    def of(self, date: str) -> list[dict]:
        if self.ahead is None or self.ahead[0] != date:
            return []
        rows = list(self.ahead[1])
        self.ahead = next(self.groups, None)
        return rows


class Files:
    """Small files, through the file system that Spark itself uses."""

    def __init__(self, spark: SparkSession) -> None:
        self.jvm = spark._jvm
        self.conf = spark._jsc.hadoopConfiguration()

    def _open(self, path: str):
        hadoop = self.jvm.org.apache.hadoop.fs.Path(path)
        return hadoop.getFileSystem(self.conf), hadoop

    def read(self, path: str) -> str:
        system, hadoop = self._open(path)
        stream = system.open(hadoop)
        try:
            return self.jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
        finally:
            stream.close()

    def write(self, path: str, value: dict) -> None:
        text = json.dumps(value, ensure_ascii=False, default=refuse)
        for number in re.findall(r"(?<=: )\d{16,}", re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)):
            if int(number) > MAX_EXACT:
                raise OverflowError(f"{path}: {number} is more than can be kept exactly")
        system, hadoop = self._open(path)
        stream = system.create(hadoop, True)
        stream.write(bytearray(text.encode()))
        stream.close()

    def folders(self, path: str) -> list[str]:
        return [str(status.getPath().toString()) for status in self._list(path) if status.isDirectory()]

    def names(self, path: str) -> list[str]:
        return [str(status.getPath().getName()) for status in self._list(path) if status.isFile()]

    def _list(self, path: str) -> list:
        system, hadoop = self._open(path)
        return list(system.listStatus(hadoop)) if system.exists(hadoop) else []


def refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} has no exact JSON")


if __name__ == "__main__":
    main()
