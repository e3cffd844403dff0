import { expect } from "chai";
import type { JudgedRecord } from "../../../../services/import/judge.js";
import { ImportError } from "../../../../services/import/verdicts.js";
import { BatchBuilder } from "../../../../services/import/writing/BatchBuilder.js";
import type { BatchLimits, Marker } from "../../../../services/import/writing/BatchBuilder.js";

const PART = { jobId: "job", userId: "user", attempt: 1, partNo: 0 };

const refusedRecord = (position: number, chars: number): JudgedRecord => ({
  verdict: "rejected",
  position,
  reason: "malformed",
  message: "",
  excerpt: "x".repeat(chars),
});

interface Cut {
  readonly batchNo: number;
  readonly firstPosition: number;
  readonly records: number;
}

/** Gives the builder records of so many characters each, and says which batches it made of them. */
function cut(sizes: readonly number[], limits: BatchLimits, markers: readonly Marker[] = []): Cut[] {
  const builder = new BatchBuilder(PART, limits, markers);
  const cuts: Cut[] = [];
  const take = (): void => {
    const batch = builder.take(0);
    if (batch === null) return;
    const { batchNo, firstPosition, rejected } = batch;
    expect(rejected.map((row) => row.position)).to.deep.equal(rejected.map((_, n) => firstPosition + n));
    cuts.push({ batchNo, firstPosition, records: rejected.length });
  };
  sizes.forEach((chars, position) => {
    if (builder.isMarked) builder.pass();
    else builder.add(refusedRecord(position, chars));
    if (builder.isFull) take();
  });
  take();
  return cuts;
}

const same = (count: number, chars = 1): number[] => Array.from({ length: count }, () => chars);

describe("gathering records into batches", () => {
  it("ends a batch after so many records, and the last with the file", () => {
    expect(cut(same(25), { rows: 10, chars: 1000 })).to.deep.equal([
      { batchNo: 0, firstPosition: 0, records: 10 },
      { batchNo: 1, firstPosition: 10, records: 10 },
      { batchNo: 2, firstPosition: 20, records: 5 },
    ]);
    expect(cut(same(20), { rows: 10, chars: 1000 })).to.have.length(2);
    expect(cut([], { rows: 10, chars: 1000 })).to.deep.equal([]);
  });

  it("ends a batch early with the record that brings its texts to the limit", () => {
    expect(cut([60, 39, 1, 250, 5, 5], { rows: 10, chars: 100 })).to.deep.equal([
      { batchNo: 0, firstPosition: 0, records: 3 },
      { batchNo: 1, firstPosition: 3, records: 1 },
      { batchNo: 2, firstPosition: 4, records: 2 },
    ]);
  });

  it("keeps the borders of batches that are in, whatever the limit is now, and goes on behind them", () => {
    const before = cut(same(30, 30), { rows: 10, chars: 100 });
    const markers = before
      .slice(0, 3)
      .map(({ batchNo, firstPosition, records }) => ({ batchNo, firstPosition, read: records }));
    expect(markers.map((marker) => marker.read)).to.deep.equal([4, 4, 4]);
    expect(cut(same(30, 30), { rows: 10, chars: 1000 }, markers)).to.deep.equal([
      { batchNo: 3, firstPosition: 12, records: 10 },
      { batchNo: 4, firstPosition: 22, records: 8 },
    ]);
  });

  it("trusts no marker behind a gap", () => {
    const markers = [
      { batchNo: 0, firstPosition: 0, read: 4 },
      { batchNo: 2, firstPosition: 8, read: 4 },
    ];
    expect(cut(same(10), { rows: 4, chars: 100 }, markers)).to.deep.equal([
      { batchNo: 1, firstPosition: 4, records: 4 },
      { batchNo: 2, firstPosition: 8, records: 2 },
    ]);
  });

  it("refuses a file that ends inside a batch that is in", () => {
    const markers = [{ batchNo: 0, firstPosition: 0, read: 5 }];
    expect(() => cut(same(3), { rows: 5, chars: 100 }, markers))
      .to.throw(ImportError)
      .with.property("code", "storage_lost");
  });
});
