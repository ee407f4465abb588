import 'reflect-metadata';
import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';

export type RowClass = new () => object;

const COLUMNS = Symbol('columns');

interface ColumnSpec {
  readonly name: string;
}

/** A column of a row: in the OpenAPI document, and in CSV in the order of the class. */
export function Column(description: string, options: ApiPropertyOptions = {}): PropertyDecorator {
  return (target, property) => {
    const columns = (Reflect.getMetadata(COLUMNS, target) ?? []) as ColumnSpec[];
    Reflect.defineMetadata(COLUMNS, [...columns, { name: String(property) }], target);
    ApiProperty({ description, ...options } as ApiPropertyOptions)(target, property);
  };
}

/** A count. */
export const Count = (description: string, options: ApiPropertyOptions = {}): PropertyDecorator =>
  Column(description, { type: 'integer', minimum: 0, ...options } as ApiPropertyOptions);

/** The columns of a row class, its base classes' first. */
export function columnsOf(row: RowClass): readonly ColumnSpec[] {
  return (Reflect.getMetadata(COLUMNS, row.prototype as object) ?? []) as ColumnSpec[];
}
