/** What is used of the App's own packages, which no registry has. */

declare module "@fiftyone/operators" {
  interface Outcome {
    result?: unknown;
    error?: unknown;
    errorMessage?: unknown;
  }
  export class OperatorConfig {
    constructor(options: { name: string; label: string; unlisted: boolean });
  }
  export class Operator {}
  export function registerOperator(operator: typeof Operator, plugin: string): void;
  export function executeOperator(
    uri: string,
    params: object,
    options: { callback: (outcome: Outcome) => void; skipErrorNotification?: boolean },
  ): void;
}

declare module "@fiftyone/plugins" {
  import { ComponentType } from "react";
  export enum PluginComponentType {
    Component,
  }
  export function registerComponent(registration: {
    name: string;
    component: ComponentType<any>;
    type: PluginComponentType;
  }): void;
}

declare module "@fiftyone/state" {
  import { RecoilState } from "recoil";
  export const datasetName: RecoilState<string>;
  export const isModalActive: RecoilState<boolean>;
}

declare module "recoil" {
  export interface RecoilState<T> {
    key: string;
    value?: T;
  }
  export function useRecoilValue<T>(state: RecoilState<T>): T;
}
