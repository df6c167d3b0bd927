import 'reflect-metadata';
import { RabbitMQModule } from '@golevelup/nestjs-rabbitmq';
import { DynamicModule, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Database } from './database';
import { EmailService } from './email.service';
import { Inbox } from './inbox';
import { InventoryService } from './inventory.service';
import { OrderService } from './order.service';
import { Outbox } from './outbox';
import { PaymentService } from './payment.service';
import { seed } from './seed';
import { settings } from './settings';
import { ShippingService } from './shipping.service';
import { exchanges, queues } from './topology';

@Module({})
class AppModule {
  static register(consumes: boolean): DynamicModule {
    return {
      module: AppModule,
      imports: [
        RabbitMQModule.forRoot({
          uri: settings.amqpUrl,
          exchanges,
          queues,
          prefetchCount: settings.prefetch,
          // Separate channels: publishes and acknowledgements do not wait for each other.
          channels: { publish: { default: true }, consume: {} },
          registerHandlers: consumes,
          enableDirectReplyTo: false,
        }),
      ],
      providers: [
        Database, Inbox, Outbox, PaymentService, InventoryService, ShippingService, EmailService, OrderService,
      ],
    };
  }
}

async function main([command, argument]: string[]): Promise<void> {
  const logger: ['error', 'warn'] = ['error', 'warn'];
  const app = await NestFactory.createApplicationContext(AppModule.register(command === 'work'), { logger });
  switch (command) {
    case 'setup': // The module has declared exchanges and queues by now.
      return app.close();
    case 'seed':
      await seed(app.get(Database), app.get(Outbox), Number(argument));
      return app.close();
    case 'work':
      app.enableShutdownHooks();
      return;
    default:
      throw new Error('usage: main setup | seed N | work');
  }
}

void main(process.argv.slice(2));
